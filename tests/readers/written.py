"""Audits small sets and exports them in every format, for the tools' own readers to read.

python -m tests.readers.written FOLDER
"""

import json
import sys
from pathlib import Path

from ray_audit.exports.export import FORMATS, export, subject_of
from ray_audit.tables.run_tables import RunTables
from tests.support import knowing
from tests.support.audits import audit

SETS = {
    "masks": lambda folder: knowing.masks(folder),
    "images": lambda folder: knowing.images(folder)[0],
    "videos": lambda folder: knowing.videos(folder, num=8),
}


def main(folder):
    for name, make in SETS.items():
        (folder / name).mkdir(parents=True)
        small = make(folder / name)
        audit(small)
        tables = RunTables.open(str(small.out))
        rows = tables.findings().to_pylist()
        (folder / name / "findings.json").write_text(json.dumps(rows))
        subject = subject_of(tables, rows)
        for form, what in FORMATS.items():
            if subject in what.fits:
                export(tables, form, str(folder / name / "exported" / form))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
