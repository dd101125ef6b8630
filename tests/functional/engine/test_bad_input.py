"""What is wrong with an input is told by name, and costs no more than it must."""

import numpy as np
import pytest
import s3fs
import torch
from PIL import Image

from ray_audit.engine.run.audit import run_audit
from ray_audit.errors import (
    CheckpointError,
    LabelError,
    PlanError,
    SpecificationError,
)
from tests.support.audits import (
    ALL_MAY_FAIL,
    assert_counts_add_up,
    audit,
    filtered,
    only_error,
    refused,
    with_trap,
)
from tests.support.small_sets import (
    CLASSES,
    MODELS,
    class_folders,
    feature_sequences,
    labelled_videos,
    mask,
    masked_images,
    picture,
    table,
    video,
)
from tests.support.tables import rows_of
from tests.unit.checkpoints.test_loading import Payload

# What is refused before anything starts.


def test_a_pattern_without_files_is_refused(tmp_path):
    images = class_folders(tmp_path)
    expected = f"{tmp_path}/data/*/*.jpg"
    message = refused(
        images, SpecificationError, dataset=images.values["dataset"] | {"uri": expected}
    )
    assert f"dataset: {expected} matches no file: check the path" in message


def test_a_checkpoint_pattern_without_files_is_refused(tmp_path):
    expected = f"{tmp_path}/checkpoints/*.pt"
    message = refused(class_folders(tmp_path), CheckpointError, checkpoints=expected)
    assert f"checkpoints: {expected} matches no file" in message


def test_checkpoints_of_another_architecture_are_refused(tmp_path):
    images = class_folders(tmp_path)
    model = images.values["model"] | {"kwargs": {"num_classes": 5}}
    message = refused(images, CheckpointError, model=model)
    assert "epoch_0.safetensors" in message
    assert "head.bias is (3,), the model has (5,)" in message
    assert "model.kwargs" in message


@pytest.mark.parametrize("epoch", [0, 1])
def test_one_checkpoint_that_was_cut_off_is_refused_by_name(tmp_path, epoch):
    images = class_folders(tmp_path)
    path = tmp_path / f"checkpoints/epoch_{epoch}.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    assert f"epoch_{epoch}.safetensors" in refused(images, CheckpointError)


def test_a_safetensors_file_without_its_last_bytes_is_refused(tmp_path):
    images = class_folders(tmp_path)
    path = tmp_path / "checkpoints/epoch_2.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    assert "epoch_2.safetensors" in refused(images, CheckpointError)


def test_an_empty_checkpoint_is_refused_by_name(tmp_path):
    images = class_folders(tmp_path)
    (tmp_path / "checkpoints/epoch_1.safetensors").write_bytes(b"")
    assert "epoch_1.safetensors is empty" in refused(images, CheckpointError)


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    images = class_folders(tmp_path)
    marker, path = tmp_path / "ran", tmp_path / "checkpoints/bad.ckpt"
    torch.save({"state_dict": Payload(f"touch {marker}")}, path)
    message = refused(images, CheckpointError, checkpoints=str(path))
    assert f"{path} was refused" in message
    assert "system" in message
    assert not marker.exists()


@pytest.mark.parametrize("factory", ["no_such_module:net", f"{MODELS}:none", f"{MODELS}:no_module"])
def test_a_factory_that_gives_no_model_is_refused(tmp_path, factory):
    images = class_folders(tmp_path)
    message = refused(images, SpecificationError, model={"factory": factory})
    assert f"model.factory {factory}" in message


def test_a_label_outside_the_classes_is_refused_with_its_row(tmp_path):
    videos = labelled_videos(tmp_path)
    path = tmp_path / "data/frames.csv"
    path.write_text(path.read_text().replace("v1.mp4,5,b", "v1.mp4,5,bb"))
    message = refused(videos, LabelError)
    assert f"{path}, row 18: label 'bb' is none of the 3 classes (a, b, c)" in message
    assert "did you mean 'b'?" in message


def test_a_folder_that_is_no_class_is_refused(tmp_path):
    images = class_folders(tmp_path)
    picture(tmp_path / "data/d/0.png", 0)
    assert "d/0.png: its folder: label 'd' is none of the 3 classes" in refused(images, LabelError)


def test_a_frame_that_is_labelled_twice_is_refused_with_both_rows(tmp_path):
    videos = labelled_videos(tmp_path)
    path = tmp_path / "data/frames.csv"
    path.write_text(path.read_text() + "v1.mp4,5,c\n")
    message = refused(videos, LabelError)
    assert "rows 18 and 37: frame 5 of v1.mp4 is labelled twice; keep one" in message


def test_an_image_that_is_labelled_twice_is_refused(tmp_path):
    images = class_folders(tmp_path)
    rows = [{"image": name, "label": "a"} for name in ("a/0.png", "a/1.png", "a/0.png")]
    labels = {"images": str(table(tmp_path / "labels.csv", rows))}
    message = refused(images, LabelError, dataset=images.values["dataset"] | {"labels": labels})
    assert "rows 1 and 3: a/0.png is labelled twice" in message


def test_more_actors_than_the_machine_holds_are_refused_at_once(tmp_path):
    message = refused(class_folders(tmp_path), PlanError, engine={"actors_per_pool": 500})
    assert "500 actors" in message
    assert "lower engine.actors_per_pool" in message


def test_more_gpus_than_there_are_are_refused(tmp_path):
    message = refused(class_folders(tmp_path), PlanError, engine={"num_gpus": 2})
    assert "0 GPU(s)" in message
    assert "engine.num_gpus" in message


@pytest.mark.parametrize("date", ["yesterday", "2026-13-01", "../elsewhere", "20260131"])
def test_a_date_that_is_none_is_refused(tmp_path, date):
    images = class_folders(tmp_path)
    with pytest.raises(SpecificationError, match=r"--date .*expected YYYY-MM-DD"):
        run_audit(images.config(), local=True, logical_date=date)
    assert images.files_written() == {}


def test_a_store_without_credentials_says_what_to_set(tmp_path, monkeypatch, request):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    request.addfinalizer(s3fs.S3FileSystem.clear_instance_cache)
    s3fs.S3FileSystem.clear_instance_cache()
    images = class_folders(tmp_path)
    uri = "s3://some-bucket/images/*/*.png"
    message = refused(images, SpecificationError, dataset=images.values["dataset"] | {"uri": uri})
    assert uri in message
    assert "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose AWS_PROFILE" in message


# What becomes a row, while the run goes on.


def test_a_mask_value_outside_the_classes_fails_its_image(tmp_path):
    images = masked_images(tmp_path)
    mask(tmp_path / "data/masks/i2.png", 2, value=9)
    outcome = audit(images, **ALL_MAY_FAIL)
    row = only_error(outcome, "labels", "label_outside")
    assert row["sample_id"] == row["shard"] == "i2.png"
    assert (
        "mask value 9 (256 px) is none of the 3 classes and not in dataset.void" in row["message"]
    )
    assert outcome.counts["scored"] == 5


def test_a_mask_of_another_size_fails_its_image(tmp_path):
    images = masked_images(tmp_path)
    mask(tmp_path / "data/masks/i2.png", 2, size=(16, 20))
    row = only_error(audit(images, **ALL_MAY_FAIL), "labels", "mask_size")
    assert "the mask is 16 x 20 px, its image 16 x 16 px" in row["message"]


def test_a_void_mask_and_a_missing_one_are_filtered(tmp_path):
    images = masked_images(tmp_path)
    mask(tmp_path / "data/masks/i2.png", 2, value=255)
    (tmp_path / "data/masks/i4.png").unlink()
    outcome = audit(images)
    assert filtered(outcome) == {"i2.png": "void", "i4.png": "unlabelled"}
    assert outcome.counts["scored"] == 4
    assert_counts_add_up(outcome)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"], ids=len)
def test_an_image_that_is_none_fails_alone(tmp_path, content):
    images = class_folders(tmp_path)
    (tmp_path / "data/b/1.png").write_bytes(content)
    outcome = audit(images, **ALL_MAY_FAIL)
    row = only_error(outcome, "decode", "decode")
    assert row["sample_id"] == "b/1.png"
    assert outcome.counts["scored"] == 11


def test_an_image_that_was_cut_off_fails_alone(tmp_path):
    images = class_folders(tmp_path)
    path = tmp_path / "data/b/1.png"
    path.write_bytes(path.read_bytes()[:-200])
    assert only_error(audit(images, **ALL_MAY_FAIL), "decode", "decode")["sample_id"] == "b/1.png"


def test_an_image_larger_than_the_limit_fails_alone(tmp_path):
    images = class_folders(tmp_path)
    picture(tmp_path / "data/b/1.png", 0, size=(32, 32))
    dataset = images.values["dataset"] | {"max_px": 512}
    row = only_error(audit(images, dataset=dataset, **ALL_MAY_FAIL), "decode", "too_large")
    assert "1024" in row["message"]
    assert "max_px" in row["message"]


def test_a_grey_image_among_colour_ones_is_scored_where_the_model_takes_three_channels(tmp_path):
    images = class_folders(tmp_path)
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "data/c/0.png")
    outcome = audit(images)
    assert outcome.counts["failed"] == 0
    assert "c/0.png" in rows_of(outcome, "scores")["sample_id"].to_pylist()


def test_a_video_that_was_cut_off_keeps_its_beginning(tmp_path):
    videos = labelled_videos(tmp_path, num_frames=40)
    path = tmp_path / "data/v1.mp4"
    whole = video(path, 40, seed=1, index_first=True).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    outcome = audit(videos, **ALL_MAY_FAIL)
    row = only_error(outcome, "decode", "decode")
    assert row["shard"] == "v1.mp4"
    assert 0 < row["num_samples"] < 40
    assert outcome.counts["entered"] == 120
    assert f"decoding ended after {40 - row['num_samples']} frames" in row["message"]


@pytest.mark.parametrize("kept_fraction", [0.0, 0.5])
def test_a_video_that_cannot_be_opened_fails_with_all_its_labels(tmp_path, kept_fraction):
    videos = labelled_videos(tmp_path)
    path = tmp_path / "data/v1.mp4"
    path.write_bytes(path.read_bytes()[: int(kept_fraction * path.stat().st_size)])
    outcome = audit(videos, **ALL_MAY_FAIL)
    row = only_error(outcome, "decode", "decode")
    assert (row["shard"], row["num_samples"]) == ("v1.mp4", 12)
    assert outcome.counts == outcome.counts | {"entered": 36, "scored": 24, "failed": 12}


def test_every_file_bad_is_a_run_with_nothing_scored(tmp_path):
    videos = labelled_videos(tmp_path, num=2)
    for path in (tmp_path / "data").glob("*.mp4"):
        path.write_bytes(b"")
    outcome = audit(videos, **ALL_MAY_FAIL)
    assert outcome.counts == outcome.counts | {"entered": 24, "scored": 0, "failed": 24}
    assert rows_of(outcome, "errors").num_rows == 2


def test_a_label_of_a_frame_that_does_not_exist_fails_alone(tmp_path):
    videos = labelled_videos(tmp_path)
    path = tmp_path / "data/frames.csv"
    path.write_text(path.read_text() + "v1.mp4,12,c\nv1.mp4,99,c\n")
    outcome = audit(videos, **ALL_MAY_FAIL)
    row = only_error(outcome, "labels", "label_without_frame")
    assert (row["shard"], row["num_samples"]) == ("v1.mp4", 2)
    assert "frames 12, 99" in row["message"]
    assert outcome.counts["scored"] == 36


def test_a_frame_without_a_label_is_filtered(tmp_path):
    videos = labelled_videos(tmp_path)
    path = tmp_path / "data/frames.csv"
    path.write_text(path.read_text().replace("v1.mp4,5,b\n", ""))
    outcome = audit(videos)
    assert filtered(outcome) == {"v1.mp4#5": "unlabelled"}
    assert_counts_add_up(outcome)


def test_labels_of_a_video_that_is_not_there_are_a_note(tmp_path):
    videos = labelled_videos(tmp_path)
    (tmp_path / "data/v1.mp4").unlink()
    outcome = audit(videos)
    assert outcome.counts["entered"] == 24
    assert outcome.manifest.notes == ["labels of 1 video match no shard: v1.mp4"]


def test_a_clip_longer_than_the_video_is_the_whole_video(tmp_path):
    videos = labelled_videos(tmp_path)
    dataset = videos.values["dataset"] | {"clip": {"frames": 64}}
    outcome = audit(videos, dataset=dataset)
    assert outcome.counts == outcome.counts | {"scored": 36, "failed": 0}


def test_a_label_array_of_another_length_fails_its_sequence(tmp_path):
    sequences = feature_sequences(tmp_path)
    arrays = dict(np.load(tmp_path / "data/sequences.npz"))
    arrays["s0_label"] = arrays["s0_label"][:-1]
    np.savez(tmp_path / "data/sequences.npz", **arrays)
    outcome = audit(sequences, **ALL_MAY_FAIL)
    (row,) = rows_of(outcome, "errors").to_pylist()
    assert row["shard"] == "sequences.npz#s0"
    assert "8" in row["message"]
    assert "9" in row["message"]
    assert outcome.counts["scored"] == 14
    assert_counts_add_up(outcome)


@pytest.mark.parametrize("make", [masked_images, class_folders, labelled_videos, feature_sequences])
def test_batches_of_one_cover_every_sample(tmp_path, make):
    dataset = make(tmp_path)
    usual, single = audit(dataset), audit(dataset, engine={"batch_size": 1})
    assert single.counts == usual.counts
    assert usual.counts["failed"] == 0
    first, other = rows_of(usual, "scores"), rows_of(single, "scores")
    np.testing.assert_allclose(first["csl"].to_numpy(), other["csl"].to_numpy(), rtol=1e-5)


def test_a_loss_that_is_not_finite_at_one_checkpoint_fails_its_sample_only(tmp_path):
    images = class_folders(tmp_path)
    picture(tmp_path / "data/b/1.png", 0, black=True)
    without_trap = audit(images)
    assert without_trap.counts["failed"] == 0
    with_trap(images, epoch=1)
    outcome = audit(images, **ALL_MAY_FAIL)
    row = only_error(outcome, "scores", "non_finite")
    assert row["sample_id"] == "b/1.png"
    assert "1 checkpoint(s), first at position 1" in row["message"]
    scores = rows_of(outcome, "scores")
    assert scores.num_rows == 11
    for name in ("csl", "vog", "aum", "suspicion"):
        assert np.isfinite(scores[name].to_numpy(zero_copy_only=False)).all(), name
    rest = without_trap.manifest.counts["scored"] - 1
    assert outcome.counts["scored"] == rest


def test_a_model_that_raises_for_some_batches_fails_these(tmp_path):
    images = class_folders(tmp_path, factory="NarrowHater")
    for index in range(2):
        picture(tmp_path / f"data/c/{index}.png", index, size=(16, 12))
    outcome = audit(images, **ALL_MAY_FAIL)
    rows = rows_of(outcome, "errors").to_pylist()
    assert [row["sample_id"] for row in rows] == ["c/0.png", "c/1.png"]
    assert {(row["stage"], row["error_class"]) for row in rows} == {("probe", "ValueError")}
    assert "this model needs 16 px of width" in rows[0]["message"]
    assert outcome.counts["scored"] == 10
    assert_counts_add_up(outcome)


def test_logits_of_another_number_of_classes_fail_with_both_numbers(tmp_path):
    images = class_folders(tmp_path)
    dataset = images.values["dataset"] | {"classes": [*CLASSES, "d"]}
    message = refused(images, SpecificationError, dataset=dataset, **ALL_MAY_FAIL)
    assert "logits of shape (1, 3)" in message
    assert "expected (1, 4)" in message
