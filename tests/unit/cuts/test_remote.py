import fsspec
import numpy as np
import pytest

from tests.support.media import cut, dataset, noise, png, write_video


@pytest.fixture
def store():
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_image_files_and_masks_of_an_object_store(store, tmp_path):
    for i in range(30):
        store.pipe_file(f"/bucket/i/{i:02d}.png", png(noise(4, 4, i)))
        if i % 3:
            store.pipe_file(f"/bucket/m/{i:02d}.png", png(np.full((4, 4), i % 3, np.uint8)))
    masks = {"masks": "memory:///bucket/m/{stem}.png"}
    actual = cut(dataset("images", "memory:///bucket/i/*.png", masks), tmp_path, max_batch=7)
    assert actual.ids == [f"{i:02d}.png" for i in range(30) if i % 3]
    assert actual.filtered == {f"{i:02d}.png": "unlabelled" for i in range(0, 30, 3)}
    inputs = np.concatenate([b.arrays["inputs"] for b in actual.batches])
    expected = [noise(4, 4, i).transpose(2, 0, 1) for i in range(30) if i % 3]
    assert np.array_equal(inputs, np.stack(expected))
    assert actual.failures == []


def test_an_object_that_is_gone_is_a_read_failure(store, tmp_path, monkeypatch):
    for name in "ab":
        store.pipe_file(f"/bucket/{name}/x.png", png(noise(4, 4)))
    config = dataset("images", "memory:///bucket/*/x.png", {"folder": True})
    assert cut(config, tmp_path).ids == ["a/x.png", "b/x.png"]
    read = type(store).cat_file

    def missing(fs, path, **options):
        if path.endswith("a/x.png"):
            raise FileNotFoundError(path)
        return read(fs, path, **options)

    monkeypatch.setattr(type(store), "cat_file", missing)
    result = cut(config, tmp_path)
    assert result.ids == ["b/x.png"]
    assert [(f.sample_id, f.stage, f.error_class) for f in result.failures] == [
        ("a/x.png", "read", "read")
    ]


def test_video_and_index_of_an_object_store(store, tmp_path):
    local = write_video(tmp_path / "x.mp4", 6)
    store.pipe_file("/bucket/v/x.mp4", local.read_bytes())
    store.pipe_file("/bucket/t.csv", b"video,frame,label\nx,0,a\nx,4,b\n")
    labels = {"frames": "memory:///bucket/t.csv"}
    result = cut(dataset("video", "memory:///bucket/v/*.mp4", labels), tmp_path)
    assert result.labels == {"x.mp4#0": 0, "x.mp4#4": 1}
