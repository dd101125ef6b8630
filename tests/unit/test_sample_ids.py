"""Names of shards: the same wherever files lie, and whatever characters are in them."""

import pytest

from ray_audit import storage
from ray_audit.sample_ids import shard_keys
from tests.support.stores import put


@pytest.mark.parametrize("name", ["a b.mp4", "100%.mp4", "take#2.mp4", "größe-π.mp4", "it's.mp4"])
def test_an_odd_name_stays_as_it_is(name):
    assert shard_keys("s3://bucket/videos/*.mp4", [f"s3://bucket/videos/{name}"]) == [name]


@pytest.mark.parametrize(
    ("pattern", "files", "keys"),
    [
        ("{}/v/*.mp4", ["v/b.mp4", "v/a.mp4"], ["b.mp4", "a.mp4"]),
        ("{}/v/*/*.mp4", ["v/or1/x.mp4", "v/or2/x.mp4"], ["or1/x.mp4", "or2/x.mp4"]),
        ("{}/v/or*/x.mp4", ["v/or1/x.mp4"], ["or1/x.mp4"]),
        ("{}/**/*.mp4", ["v/w/x.mp4"], ["v/w/x.mp4"]),
        ("{}/v/x.mp4", ["v/x.mp4"], ["x.mp4"]),
    ],
)
@pytest.mark.parametrize("root", ["s3://bucket", "gs://other", "/data/here", "file:///data"])
def test_keys_are_the_same_wherever_the_files_lie(root, pattern, files, keys):
    uris = [f"{root}/{name}" for name in files]
    assert shard_keys(pattern.format(root), uris) == keys


@pytest.mark.parametrize("root", ["s3://bucket", "/data/here"])
def test_keys_of_a_list_are_below_the_folder_that_all_share(root):
    uris = [f"{root}/v/or1/x.mp4", f"{root}/v/or2/x.mp4"]
    assert shard_keys(uris, uris) == ["or1/x.mp4", "or2/x.mp4"]


def test_a_relative_path_gives_the_keys_of_the_absolute_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put("videos", "a.mp4")
    (found,) = storage.list_objects("videos/*.mp4")
    assert found.uri == str(tmp_path / "videos/a.mp4")
    assert shard_keys("videos/*.mp4", [found.uri]) == ["a.mp4"]
