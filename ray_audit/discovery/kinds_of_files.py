"""What files are, by their extensions."""

import re

from ray_audit.discovery.tree import extension
from ray_audit.formats.registry import format_of

TABLES = (".csv", ".tsv", ".txt", ".lst", ".json", ".jsonl", ".ndjson")
_TABLE_ENDS = (*TABLES, *(f"{ending}.gz" for ending in TABLES), ".parquet", ".pq")
_NOT_TRAIN = re.compile(r"(^|[_\-. /])(val|valid|validation|test|testing|dev)([_\-. 0-9/]|$)")


def not_for_training(path: str) -> bool:
    """Whether a path names another part of a dataset than that for training.

    >>> not_for_training("annotations/instances_val2017.json"), not_for_training("train/valid.csv")
    (True, True)
    """
    return _NOT_TRAIN.search(path.lower()) is not None


def kind_of(path: str) -> str:
    """The format of a file, `table`, or empty.

    >>> kind_of("a/x.JPG"), kind_of("labels.csv.gz"), kind_of("README.md")
    ('image files', 'table', '')
    """
    end = extension(path)
    if end in _TABLE_ENDS and end not in (".parquet", ".pq"):
        return "table"
    found = format_of(path)
    return found.name if found else ""


def is_table(path: str) -> bool:
    """Whether a file may be a table of labels."""
    return extension(path) in _TABLE_ENDS
