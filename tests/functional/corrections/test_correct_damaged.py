"""Corrections of datasets with damaged files: the others are corrected, these are named."""

import shutil
import tarfile

import pytest

from tests.support import knowing
from tests.support.corrected import corrected, labels_at, rows_at

BUDGET = {"max_fraction": 1.0}


def with_budget(small):
    small.values["failures"] = BUDGET
    return small


@pytest.mark.parametrize("build", ["masks", "images"])
def test_an_archive_that_breaks_off_is_left_out_and_named(tmp_path, build):
    small = getattr(knowing, build)(tmp_path, "tar")
    small = with_budget(small if build == "masks" else small[0])
    data = tmp_path / "data"
    whole = (data / "t.tar").read_bytes()
    with tarfile.open(data / "t.tar") as file:
        last = file.getmembers()[-1]
    (data / "z.tar").write_bytes(whole[: last.offset + 300])  # in the header of the last member
    done = corrected(small)
    assert done.num_changed > 0
    assert not (tmp_path / "to/data/z.tar").exists()
    assert (tmp_path / "to/data/t.tar").exists()
    reported = [*done.notes, *done.named.get("unmatched", [])]
    assert any("z.tar" in item and "breaks off" in item for item in reported)
    rows = [row for row in rows_at(done) if row["shard"] == "z.tar"]
    assert rows
    assert {row["outcome"] for row in rows} == {"unmatched"}
    assert {row["num_changed"] for row in rows} == {0}


def test_refused_members_of_an_archive_of_masks_are_left_out_and_named(tmp_path):
    small = with_budget(knowing.masks(tmp_path, "tar"))
    link = tarfile.TarInfo("k9.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    with tarfile.open(tmp_path / "data/t.tar", "a") as file:
        file.addfile(link)
    done = corrected(small)
    assert done.outcomes["changed"] == 2
    assert any("t.tar#k9.png: left out of the copy" in item for item in done.named["unmatched"])
    with tarfile.open(tmp_path / "to/data/t.tar") as file:
        assert "k9.png" not in file.getnames()


def test_a_damaged_npz_is_left_out_and_named_and_the_others_are_corrected(tmp_path):
    small = with_budget(knowing.videos(tmp_path, "npz"))
    (stored,) = (tmp_path / "data").glob("*.npz")
    shutil.copy(stored, stored.with_name("z.npz"))
    content = stored.read_bytes()
    stored.with_name("z.npz").write_bytes(content[: len(content) // 2])
    done = corrected(small)
    assert done.pairs == [{"given": "c", "corrected": "a", "num": 8}]
    assert any(note.startswith("Left out: z.npz:") for note in done.notes)
    assert {key.partition("#")[0] for key in labels_at(done)} == {stored.name}
