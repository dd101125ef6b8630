"""Objects below a folder of any store."""

import re

from ray_audit import storage


def put(base, *names, content=b"x"):
    for name in names:
        storage.write_bytes(f"{base}/{name}", content)


def names(found, base):
    root = base.removeprefix("memory:///")
    return [re.sub(rf".*{re.escape(root)}/", "", item.uri) for item in found]
