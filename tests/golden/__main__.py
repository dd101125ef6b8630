"""Keep the tables of the small runs anew: `python -m tests.golden [NAME ...]`.

A number may change only together with a declared version: see `store.versions`.
"""

import sys
import tempfile
from pathlib import Path

from tests.golden import store
from tests.golden.sets import RUNS, tables_of


def main(names):
    for name in names or RUNS:
        with tempfile.TemporaryDirectory() as folder:
            tables = tables_of(RUNS[name](Path(folder)))
        print(f"{name}: {'written' if store.write(name, tables) else 'as it was'}")


if __name__ == "__main__":
    main(sys.argv[1:])
