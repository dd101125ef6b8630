"""Kept tables: a digest of each column, and the values behind it.

On the kind of machine that wrote them the digests hold bit for bit. Other processors round sums
of floats in another way; there numbers are held to the kept values within a few ulps of float32.
"""

import hashlib
import json
import math
import platform
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from ray_audit import parquet_io
from ray_audit.measures import measures
from ray_audit.measures.versions import RECORD_VERSION, SCORE_VERSION
from ray_audit.schemas import IDENTITY
from ray_audit.task import Task

KEPT = Path(__file__).parent / "tables"
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_RELATIVE, _ABSOLUTE = 2e-4, 2e-6
_METADATA_KEYS = ("unit", "direction")
_NOT_FINISHED = {column.name for column in IDENTITY}


def machine():
    """What must be equal for sums of floats to be."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
    capability = torch.backends.cpu.get_cpu_capability()
    return [
        platform.machine(),
        names[0] if names else "",
        capability,
        torch.__version__,
        np.__version__,
    ]


def versions():
    """What must move for a kept number to change."""
    return {"record": RECORD_VERSION, "score": SCORE_VERSION, "raised": measures().versions()}


def may_change(table, column, before):
    """Whether a version moved, since `before`, that stands behind a column.

    Behind a score: its own, those of the quantities and scores that it needs, and the two that
    stand behind all; only for other tables any version will do.
    """
    now = versions()
    if any(before.get(name) != now.get(name) for name in ("record", "score")):
        return True
    raised = [item.get("raised", {}) for item in (before, now)]
    if table != "scores" or column in _NOT_FINISHED:
        return raised[0] != raised[1]
    behind = set().union(*(measures().behind(task, column) for task in Task))
    return any(raised[0].get(name, 1) != raised[1].get(name, 1) for name in behind)


def digests(table):
    """Of each column: its name, type, unit and direction, and its values bit for bit."""
    return {field.name: _digest(field, table[field.name]) for field in table.schema}


def _digest(field, column):
    described = {
        key: (field.metadata or {}).get(key.encode(), b"").decode() for key in _METADATA_KEYS
    }
    values = [_exact(value) for value in column.to_pylist()]
    content = json.dumps([field.name, str(field.type), described, values])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _exact(value):
    if isinstance(value, float):
        return value.hex()
    return [_exact(item) for item in value] if isinstance(value, list) else value


def write(name, tables):
    """Keep the tables of a run.

    Raises:
        ValueError: numbers changed, and no declared version moved.
    """
    folder = KEPT / name
    kept = read_digests(name)
    found = {table: digests(tables[table]) for table in tables}
    content = {"versions": versions(), "machine": machine(), "tables": found}
    if kept == content:
        return False
    changed = [
        f"{table}.{column}"
        for table, columns in (found.items() if kept else ())
        for column, digest in columns.items()
        if kept["tables"].get(table, {}).get(column, digest) != digest
        and not may_change(table, column, kept["versions"])
    ]
    if changed:
        raise ValueError(f"{name}: {', '.join(changed)} changed, and no version of them moved")
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in tables.items():
        pq.write_table(rows, folder / f"{table}.parquet", compression="zstd")
    (folder / "digests.json").write_text(json.dumps(content, indent=1) + "\n")
    return True


def read_digests(name):
    path = KEPT / name / "digests.json"
    return json.loads(path.read_text()) if path.exists() else None


def differences(name, tables):
    """What is not as it was kept, a line for each column."""
    kept = read_digests(name)
    assert kept is not None, f"nothing is kept of {name}: python -m tests.golden"
    lines = [f"versions are {versions()}, kept were {kept['versions']}"]
    lines = lines if kept["versions"] != versions() else []
    if sorted(kept["tables"]) != sorted(tables):
        lines.append(f"tables are {sorted(tables)}, kept were {sorted(kept['tables'])}")
    for table in sorted(kept["tables"].keys() & tables.keys()):
        found, before = digests(tables[table]), kept["tables"][table]
        lines += [f"{table}.{column} is gone" for column in before if column not in found]
        lines += [f"{table}.{column} is new" for column in found if column not in before]
        for column in (c for c in before if c in found and before[c] != found[c]):
            if kept["machine"] == machine() or not _is_close(name, table, column, tables[table]):
                lines.append(f"{table}.{column} is other than it was")
    return lines


def _is_close(name, table, column, rows):
    path = KEPT / name / f"{table}.parquet"
    before = parquet_io.parse(path.read_bytes())
    fields = before.schema.field(column), rows.schema.field(column)
    if not fields[0].equals(fields[1]) or before.num_rows != rows.num_rows:
        return False
    pairs = zip(before[column].to_pylist(), rows[column].to_pylist(), strict=True)
    return all(_alike(first, other) for first, other in pairs)


def _alike(first, other):
    if isinstance(first, float) and isinstance(other, float):
        return math.isclose(first, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    if isinstance(first, list) and isinstance(other, list):
        return len(first) == len(other) and all(map(_alike, first, other))
    if isinstance(first, str) and isinstance(other, str):  # a sentence with rounded numbers
        return _NUMBER.sub("0", first) == _NUMBER.sub("0", other)
    return first == other
