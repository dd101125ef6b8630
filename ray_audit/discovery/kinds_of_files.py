"""What files are, by their extensions."""

from ray_audit.discovery.tree import extension
from ray_audit.formats.registry import format_of

TABLES = (".csv", ".tsv", ".txt", ".lst", ".json", ".jsonl", ".ndjson")
_TABLE_ENDS = (*TABLES, *(f"{ending}.gz" for ending in TABLES), ".parquet", ".pq")


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
