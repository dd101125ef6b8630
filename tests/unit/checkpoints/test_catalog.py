import pytest

from ray_audit.checkpoints.catalog import list_checkpoints, read_catalog
from ray_audit.errors import CheckpointError


def write(folder, *names, content=b"weights"):
    for name in names:
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in names]


def names(checkpoints):
    return [checkpoint.name for checkpoint in checkpoints]


def test_a_glob_comes_in_natural_order(tmp_path):
    write(tmp_path, "epoch_10.pt", "epoch_2.pt", "epoch_1.pt")
    found = list_checkpoints(f"{tmp_path}/*.pt")
    assert names(found) == ["epoch_1.pt", "epoch_2.pt", "epoch_10.pt"]
    assert [item.index for item in found] == [0, 1, 2]


def test_what_was_saved_again_under_a_version_comes_after_the_first(tmp_path):
    write(tmp_path, "epoch=1-v1.ckpt", "epoch=1.ckpt", "epoch=2.ckpt")
    found = list_checkpoints(f"{tmp_path}/*.ckpt")
    assert names(found) == ["epoch=1.ckpt", "epoch=1-v1.ckpt", "epoch=2.ckpt"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["val=0.41-epoch=1.pt", "val=0.52-epoch=0.pt"], "epoch is 1, 0"),
        (["loss2.5_step-100.pt", "loss1.5_step-900.pt", "loss0.5_step-1000.pt"], "step is 1000, 9"),
        (["a-iter_9.pt", "b-iter_8.pt"], "iter is 9, 8"),
        (["epoch=0-val=0.5.pt", "epoch=1-val=0.4.pt"], None),
        (["epoch=0-step=10.pt", "epoch=1-step=5.pt"], None),
        (["lr=0.1-a.pt", "lr=0.01-b.pt"], None),
    ],
)
def test_a_natural_order_in_which_epochs_or_steps_do_not_rise_is_named(tmp_path, files, said):
    uris = write(tmp_path, *files)
    notes = [n for n in read_catalog(f"{tmp_path}/*.pt").notes if "natural order" in n]
    assert len(notes) == (said is not None)
    assert all(said in note for note in notes)
    assert not any("natural order" in note for note in read_catalog(uris).notes)


def test_epochs_of_two_stages_rise_in_each(tmp_path):
    for stage in ("stage1", "stage2"):
        (tmp_path / stage).mkdir()
        write(tmp_path / stage, "epoch_0.pt", "epoch_1.pt")
    assert not any("natural" in note for note in read_catalog(f"{tmp_path}/*/epoch_*.pt").notes)


def test_a_list_keeps_its_order(tmp_path):
    uris = write(tmp_path, "last.pt", "first.pt")
    assert names(list_checkpoints(uris)) == ["last.pt", "first.pt"]


def test_a_pattern_in_a_list_stands_for_its_files_in_natural_order(tmp_path):
    write(tmp_path, "first.pt", "epoch_10.pt", "epoch_2.pt")
    found = list_checkpoints([f"{tmp_path}/first.pt", f"{tmp_path}/epoch_*.pt"])
    assert names(found) == ["first.pt", "epoch_2.pt", "epoch_10.pt"]


def test_the_digest_is_of_the_content(tmp_path):
    (uri,) = write(tmp_path, "a.pt", content=b"one")
    (other,) = write(tmp_path, "b.pt", content=b"one")
    before, same = list_checkpoints([uri, other])
    (tmp_path / "a.pt").write_bytes(b"two")
    (after,) = list_checkpoints(uri)
    assert before.digest == same.digest != after.digest


@pytest.mark.parametrize("uri", ["{}/*.pt", "{}/none.pt"])
def test_no_match_names_the_pattern(tmp_path, uri):
    expected = uri.format(tmp_path)
    with pytest.raises(CheckpointError, match="matches no file: check the path") as error:
        list_checkpoints(expected)
    assert expected in str(error.value)
    assert "train" not in str(error.value)


def test_where_a_pattern_that_training_fills_matches_nothing_train_is_named(tmp_path):
    """As a fresh draft of `init` has it."""
    with pytest.raises(CheckpointError, match="Where there are none yet, `ray-audit train` makes"):
        list_checkpoints(f"{tmp_path}/epoch_*.safetensors")


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    write(tmp_path, "epoch_1.pt", "notes.txt")
    with pytest.raises(CheckpointError, match=r"notes\.txt: expected one of .*\.safetensors"):
        list_checkpoints(f"{tmp_path}/*")


def test_one_file_twice_in_a_list_is_refused(tmp_path):
    (uri,) = write(tmp_path, "a.pt")
    with pytest.raises(CheckpointError, match=r"twice.*a\.pt"):
        list_checkpoints([uri, uri])
