"""Whole objects are read by one request, whatever the version of the library."""

from ray_audit.stored_objects import asks_for_sizes


class Older:
    async def _cat_file(self, path, version_id=None, start=None, end=None):
        """Before parts were read side by side."""


class Newer:
    async def _cat_file(self, path, version_id=None, start=None, end=None, max_concurrency=10):
        """It asks for the size, unless one part at a time is to be read."""


class Local:
    def cat_file(self, path, start=None, end=None):
        """Nothing is asked for."""


def test_only_file_systems_that_read_in_parts_are_told_not_to():
    assert [asks_for_sizes(kind) for kind in (Older, Newer, Local)] == [False, True, False]
