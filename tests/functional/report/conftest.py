import pytest

from ray_audit.engine.run.audit import run_audit
from ray_audit.tables.run_tables import RunTables
from tests.support import small_sets


@pytest.fixture
def images(tmp_path):
    """An audited folder of images, and its tables."""
    small = small_sets.class_folders(tmp_path)
    run_audit(small.config(), local=True)
    return small, RunTables.open(str(small.out))


@pytest.fixture
def videos(tmp_path):
    small = small_sets.labelled_videos(tmp_path)
    run_audit(small.config(), local=True)
    return small, RunTables.open(str(small.out))
