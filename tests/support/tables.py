"""Identical tables, as the contract has it."""

from ray_audit.tables.manifest import Manifest

TABLES = ("scores", "trajectories", "filtered", "errors", "class_stats")


def rows_of(outcome, name):
    """A table sorted by sample, without what differs between runs (file metadata, attempts)."""
    files = outcome.manifest.tables[name]
    table = Manifest.read(outcome.run_uri).table(outcome.run_uri, name) if files else None
    assert table is not None, f"no {name} table"
    table = table.replace_schema_metadata(None)
    if "attempts" in table.column_names:
        table = table.drop_columns(["attempts"])
    keys = [c for c in ("sample_id", "shard", "checkpoint", "class") if c in table.column_names]
    return table.sort_by([(key, "ascending") for key in keys])


def assert_identical(first, other):
    """Equal rows and equal schemas, bit for bit."""
    for name in TABLES:
        left, right = rows_of(first, name), rows_of(other, name)
        assert left.schema.equals(right.schema, check_metadata=True), name
        for column in left.column_names:
            assert left[column].combine_chunks().equals(right[column].combine_chunks()), (
                f"{name}.{column} differs"
            )
    assert first.counts == other.counts
