"""Models that see clips of frames with masks, and of slices: each owned frame is a sample."""

import pytest

from ray_audit.errors import SpecificationError
from tests.support.audits import assert_counts_add_up, audit, refused
from tests.support.corrected import corrected, rows_at
from tests.support.masked_videos import NUM_FRAMES, masked_videos
from tests.support.tables import rows_of
from tests.support.volumes import seen_volumes

CLIPS = {"frames": 4, "stride": 3}


def in_clips(small, layout=None, clip=CLIPS):
    """The same set and weights, seen clip by clip."""
    small.values["dataset"]["clip"] = clip
    model = small.values["model"]
    model["factory"] = model["factory"].replace(":PixelModel", ":ClipPixelModel")
    if layout:
        model["kwargs"] = {**model["kwargs"], "depth_first": True}
        model["input"] = {"layout": layout}
    small.values["output"] = str(small.folder / "in_clips")
    return small


def numbers(outcome):
    """Scores by sample, without what names the run."""
    rows = rows_of(outcome, "scores").to_pylist()
    return {row["sample_id"]: row for row in rows}


@pytest.mark.parametrize("layout", [None, "NCTHW"])
@pytest.mark.parametrize("masked", [range(NUM_FRAMES), range(1, NUM_FRAMES, 3)])
def test_a_model_of_clips_scores_each_frame_as_one_of_frames_does(tmp_path, layout, masked):
    small = masked_videos(tmp_path, masked=masked, wrong=((4,), ()))
    alone = audit(small)
    together = audit(in_clips(small, layout))
    assert_counts_add_up(together)
    first, second = numbers(alone), numbers(together)
    assert first.keys() == second.keys()
    for name, row in first.items():
        for column, value in row.items():
            if isinstance(value, float):
                assert second[name][column] == pytest.approx(value, rel=1e-4, abs=1e-5), column
            elif column not in ("vog_by_class",):
                assert second[name][column] == value, column
    assert [f["mask_rle"] for f in rows_of(alone, "findings").to_pylist()] == [
        f["mask_rle"] for f in rows_of(together, "findings").to_pylist()
    ]


def test_masks_are_corrected_by_a_model_of_clips(tmp_path):
    small = in_clips(masked_videos(tmp_path, wrong=((1, 4), ())))
    small.out = tmp_path / "in_clips"
    done = corrected(small)
    changed = {row["sample_id"] for row in rows_at(done) if row["outcome"] == "changed"}
    assert changed == {"v0.mkv#1", "v0.mkv#4"}


def test_a_model_of_volumes_sees_clips_along_the_axis(tmp_path):
    small = seen_volumes(tmp_path)
    alone = numbers(audit(small))
    together = numbers(audit(in_clips(small, "NCTHW", {"frames": None})))
    assert alone.keys() == together.keys()
    for name, row in alone.items():
        assert together[name]["softmin"] == pytest.approx(row["softmin"], rel=1e-4)


def test_a_model_of_frames_that_is_given_clips_is_told_what_to_do(tmp_path):
    small = masked_videos(tmp_path)
    small.values["dataset"]["clip"] = CLIPS
    small.values["model"]["factory"] = f"{__name__}:FirstFrames"
    assert "clip.frames: 1" in refused(small, SpecificationError)
    small.values["adaptive"] = {"budget": 0.5}
    assert "clips of masks" in refused(small, SpecificationError)


def FirstFrames(num_classes):  # noqa: N802  (a factory)
    from tests.support.tiny_models import PixelModel

    class First(PixelModel):
        def forward(self, clips):
            return super().forward(clips[:, 0])

    return First(num_classes)
