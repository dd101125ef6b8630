import numpy as np
import pytest

from ray_audit.errors import LabelError
from tests.support.label_sets import all_labels, listed
from tests.support.layouts import mstcn, specified, touched, written
from tests.support.media import cut
from tests.support.small_sets import video as small_video

PHASES = [
    *("Preparation", "CalotTriangleDissection", "ClippingCutting", "GallbladderDissection"),
    *("GallbladderPackaging", "CleaningCoagulation", "GallbladderRetraction"),
]


def test_cholec80_phases(tmp_path):
    expected = {}
    for video in ("video01", "video02"):
        touched(tmp_path / f"videos/{video}.mp4")
        rows = [(t, (t + len(expected)) // 5 % 7) for t in range(30)]
        lines = [f"{t}\t{PHASES[phase]}" for t, phase in rows]
        path = tmp_path / f"phase_annotations/{video}-phase.txt"
        written(path, "\n".join(["Frame\tPhase", *lines, ""]))
        expected |= {f"{video}.mp4#{t}": phase for t, phase in rows}
    labels = {
        "frames": "phase_annotations/{stem}-phase.txt",
        "columns": {"frame": "Frame", "label": "Phase"},
    }
    config = specified(tmp_path, "video", "videos/*.mp4", labels, PHASES, clip={"every": 25})
    assert all_labels(config) == expected


def test_autolaparo_counts_seconds_and_phases_from_one(tmp_path):
    for name in ("01", "02"):
        (tmp_path / "videos").mkdir(exist_ok=True)
        small_video(tmp_path / f"videos/{name}.mp4", 60)  # 25 a second
        rows = [f"{second}\t{1 + (second + int(name)) % 7}" for second in (1, 2, 3)]
        written(tmp_path / f"labels/label_{name}.txt", "\n".join(["Frame\tPhase", *rows]))
    labels = {
        "frames": "labels/label_{stem}.txt",
        "columns": {"frame": "Frame", "label": "Phase"},
        **{"fps": 1, "first_frame": 1, "first_value": 1},
    }
    found = all_labels(specified(tmp_path, "video", "videos/*.mp4", labels, PHASES))
    assert found == {
        f"0{name}.mp4#{t}": (t // 25 + 1 + name) % 7 for name in (1, 2) for t in range(60)
    }


def test_ms_tcn_has_a_label_a_line_and_bundles(tmp_path):
    what, expected = mstcn(tmp_path)
    config = specified(*what, str(tmp_path / "mapping.txt"), split="splits/train.split1.bundle")
    assert config.classes == ["cut_tomato", "mix", "serve it"]
    del expected["rgb-01-2.npy"]
    assert all_labels(config) == {
        f"{key}#{t}": label for key, at in expected.items() for t, label in enumerate(at)
    }


@pytest.mark.parametrize("num_frames", [11, 7])
def test_feature_arrays_with_a_column_a_frame_are_turned(tmp_path, num_frames):
    features = np.random.default_rng(0).normal(size=(7, num_frames)).astype(np.float32)
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features/a.npy", features)
    np.savez(tmp_path / "features/b.npz", b=features, b_label=np.zeros(num_frames, np.int8))
    written(tmp_path / "groundTruth/a.txt", "mix\n" * num_frames)
    for name, labels in (
        ("a.npy", {"frames": "groundTruth/{stem}.txt", "header": ["label"]}),
        ("b.npz", {"arrays": "{key}_label"}),
    ):
        config = specified(
            *(tmp_path, "sequences", f"features/{name}", labels, ["mix", "cut"]),
            **{"axes": "DT", "clip": {"frames": None}},
        )
        result = cut(config, tmp_path / name)
        assert result.failed == []
        np.testing.assert_array_equal(result.batches[0].arrays["inputs"], features.T[None])


def test_an_empty_line_among_frames_would_move_all_that_follow(tmp_path):
    what, _ = mstcn(tmp_path)
    written(tmp_path / "groundTruth/rgb-01-1.txt", "mix\n\nmix\n")
    with pytest.raises(LabelError, match=r"rgb-01-1\.txt, row 2: the row is empty, and others"):
        listed(specified(*what, ["cut_tomato", "mix", "serve it"]))


def test_mmaction2_lists(tmp_path):
    for name in ("abseiling/a,b.mp4", "zumba/b.mp4", "zumba/c.mp4"):
        touched(tmp_path / f"videos/{name}")
    written(
        tmp_path / "kinetics400_train_list.txt",
        "abseiling/a,b.mp4 0\nzumba/b.mp4 1\nzumba/c.mp4 1\n",
    )
    labels = {"videos": "kinetics400_train_list.txt", "header": ["video", "label"]}
    with pytest.raises(LabelError, match=r"row 2: 1 fields, expected 2 .*labels\.delimiter"):
        listed(specified(tmp_path, "video", "videos/*/*.mp4", labels, ["abseiling", "zumba"]))
    labels["delimiter"] = "blanks"
    config = specified(tmp_path, "video", "videos/*/*.mp4", labels, ["abseiling", "zumba"])
    assert all_labels(config) == {"abseiling/a,b.mp4": 0, "zumba/b.mp4": 1, "zumba/c.mp4": 1}


def test_kinetics_names_videos_by_a_part_of_the_file_name(tmp_path):
    for name in ("abseiling/-x_1_000001_000011.mp4", "zumba/Ab0_000010_000020.mp4"):
        touched(tmp_path / f"train/{name}")
    head = "label,youtube_id,time_start,time_end,split\n"
    rows = "abseiling,-x_1,1,11,train\nzumba,Ab0,10,20,train\n"
    written(tmp_path / "train.csv", head + rows)
    labels = {
        "videos": "train.csv",
        "columns": {"video": "youtube_id"},
        "match": r"/(.+)_\d{6}_\d{6}\.mp4$",
    }
    config = specified(tmp_path, "video", "train/*/*.mp4", labels, ["abseiling", "zumba"])
    assert list(all_labels(config).values()) == [0, 1]
