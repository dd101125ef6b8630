"""Labels in JSON documents as they are published: every label is read, and written back."""

import json

import numpy as np
import pytest

from ray_audit.corrections.write_labels import write_labels
from ray_audit.errors import LabelError
from ray_audit.formats.label_changes import FrameChange, LabelChanges
from ray_audit.sample_ids import Owner
from tests.support.label_sets import all_labels, dataset, listed
from tests.support.small_sets import picture, video

ACTIVITY_NET = {
    "version": "1.3",
    "database": {
        "v1": {
            "subset": "training",
            "duration": 0.48,
            "annotations": [
                {"segment": [0.0, 0.16], "label": "a"},
                {"segment": [0.24, 0.48], "label": "b", "by": "é"},
            ],
        },
        "v2": {"subset": "training", "annotations": [{"segment": [0.04, 0.4], "label": "c"}]},
        "gone": {"subset": "testing", "annotations": []},
    },
}
EGOPER = {
    "coffee": {
        "segments": [
            {
                "video_id": "s1",
                "labels": {
                    "action": ["a", "b", "c"],
                    "time_stamp": [[0, 0.4], [0.4, 0.8], [1.0, 1.2]],
                    "error_description": ["", "spilt", ""],
                },
            },
            {
                "video_id": "s2",
                "labels": {"action": ["b"], "time_stamp": [[0, 1.2]], "error_description": [""]},
            },
        ]
    }
}


def activity_net(folder):
    for name in ("v_v1", "v_v2"):
        video(folder / f"videos/{name}.mp4", 12)
    (folder / "net.json").write_text(json.dumps(ACTIVITY_NET, indent=2))
    labels = {
        "segments": str(folder / "net.json"),
        "rows": "database.{video}.annotations.*",
        "columns": {"start_s": "segment.0", "end_s": "segment.1"},
        "match": r"v_(.*)\.mp4",
    }
    return dataset("video", folder / "videos/*.mp4", labels)


def egoper(folder):
    for name in ("s1", "s2"):
        np.save(folder / f"{name}.npy", np.zeros((12, 4), np.float32))
    (folder / "annotation.json").write_text(json.dumps(EGOPER))
    labels = {
        "segments": str(folder / "annotation.json"),
        "rows": "*.segments.*",
        "columns": {
            "video": "video_id",
            "label": "labels.action.*",
            "start_s": "labels.time_stamp.*.0",
            "end_s": "labels.time_stamp.*.1",
        },
    }
    return dataset("sequences", folder / "*.npy", labels, fps=10)


def of(key, labels):
    return {f"{key}#{t}": label for t, label in enumerate(labels) if label is not None}


def test_segments_of_activity_net(tmp_path):
    first = [0] * 4 + [None] * 2 + [1] * 6
    second = [None] + [2] * 9 + [None] * 2
    expected = of("v_v1.mp4", first) | of("v_v2.mp4", second)
    assert all_labels(activity_net(tmp_path)) == expected


def test_parallel_lists_of_egoper(tmp_path):
    expected = of("s1.npy", [0] * 4 + [1] * 4 + [None] * 2 + [2] * 2) | of("s2.npy", [1] * 12)
    assert all_labels(egoper(tmp_path)) == expected


@pytest.mark.parametrize("build", [activity_net, egoper])
def test_corrected_segments_of_a_document_read_back(tmp_path, build):
    config = build(tmp_path)
    before = all_labels(config)
    listing, given = listed(config)
    owner = given.sequence_owners()[1]
    changes = {owner: FrameChange(np.array([3, 4]), np.array([0, 0], np.int32))}
    changed = LabelChanges(frames=changes, times=given.times)
    written = write_labels(config, listing, changed, str(tmp_path / "to"))
    assert all_labels(written.dataset) == before | {owner.frame(t): 0 for t in (3, 4)}


def test_lists_beside_those_that_are_cut_go_along(tmp_path):
    config = egoper(tmp_path)
    listing, given = listed(config)
    frames = FrameChange(np.array([5, 6]), np.array([2, 2], np.int32))
    changes = LabelChanges(frames={Owner("s1.npy"): frames}, times=given.times)
    write_labels(config, listing, changes, str(tmp_path / "to"))
    (copy,) = (tmp_path / "to").rglob("annotation.json")
    labels = json.loads(copy.read_text())["coffee"]["segments"][0]["labels"]
    assert labels["action"] == ["a", "b", "c", "b", "c"]
    assert labels["error_description"] == ["", "spilt", "spilt", "spilt", ""]
    assert labels["time_stamp"] == [[0, 0.4], [0.4, 0.5], [0.5, 0.7], [0.7, 0.8], [1.0, 1.2]]


def test_a_document_that_does_not_change_keeps_its_values(tmp_path):
    config = activity_net(tmp_path)
    listing, given = listed(config)
    changes = LabelChanges(times=given.times)
    write_labels(config, listing, changes, str(tmp_path / "to"))
    (copy,) = (tmp_path / "to").rglob("net.json")
    assert copy.read_bytes() == (tmp_path / "net.json").read_bytes()


COCO = {
    "info": {"year": 2017},
    "images": [{"id": i, "file_name": f"{i}.png", "height": 8, "width": 8} for i in range(3)],
    "annotations": [
        {"id": 10, "image_id": 0, "category_id": 17},
        {"id": 11, "image_id": 0, "category_id": 17},
        {"id": 12, "image_id": 1, "category_id": 90},
    ],
    "categories": [{"id": 90, "name": "b"}, {"id": 17, "name": "a"}],
}


def coco(folder, document=COCO):
    for index in range(3):
        picture(folder / f"images/{index}.png", index)
    (folder / "coco.json").write_text(json.dumps(document))
    return dataset("images", folder / "images/*.png", {"images": str(folder / "coco.json")})


def test_one_class_an_image_of_a_coco_file_goes_by_name(tmp_path):
    config = coco(tmp_path)
    assert all_labels(config) == {"0.png": 0, "1.png": 1}
    changes = LabelChanges(classes={Owner("0.png"): 1})
    written = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    assert all_labels(written.dataset) == {"0.png": 1, "1.png": 1}


def test_a_coco_file_that_says_something_else_is_refused_by_what_it_says(tmp_path):
    several = json.loads(json.dumps(COCO))
    several["annotations"][1]["category_id"] = 90
    with pytest.raises(LabelError, match=r"0\.png has annotations of several categories \(a, b\)"):
        listed(coco(tmp_path, several))
    other = COCO | {"categories": [{"id": 90, "name": "bird"}, {"id": 17, "name": "a"}]}
    message = r"label 'bird' is none of the 3 classes \(a, b, c\).*other labels are 'a'"
    with pytest.raises(LabelError, match=message):
        listed(coco(tmp_path, other))


@pytest.mark.parametrize(
    ("document", "rows", "columns"),
    [
        ({"0": {"label": "a"}, "1": {"label": "b"}, "2": {"label": "c"}}, "{image}", {}),
        ({"x": {"0.png": "a", "1.png": "b", "2": "c"}}, "x.{image}", {"label": "."}),
        ([[{"n": i, "k": {"c": i}}] for i in range(3)], "*.*", {"image": "n", "label": "k.c"}),
        ({"f": ["0", "1", "2"], "l": ["a", "b", "c"]}, ".", {"image": "f.*", "label": "l.*"}),
    ],
)
def test_rows_by_path(tmp_path, document, rows, columns):
    for index in range(3):
        picture(tmp_path / f"images/{index}.png", index)
    (tmp_path / "t.json").write_text(json.dumps(document))
    labels = {"images": str(tmp_path / "t.json"), "rows": rows, "columns": columns}
    config = dataset("images", tmp_path / "images/*.png", labels)
    assert all_labels(config) == {"0.png": 0, "1.png": 1, "2.png": 2}
    changes = LabelChanges(classes={Owner("1.png"): 2})
    written = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    assert all_labels(written.dataset) == {"0.png": 0, "1.png": 2, "2.png": 2}


@pytest.mark.parametrize(
    ("document", "rows", "columns", "message"),
    [
        ({"a": []}, "b.*", {}, "labels.rows: 'b.*' leads nowhere: there is no 'b'"),
        ({"a": [{"image": "0"}]}, "a.*", {}, "no column 'label'; the table has 'image'"),
        ({"f": ["0", "1"], "l": ["a"]}, ".", {"image": "f.*", "label": "l.*"}, "as many of each"),
        ("x", "*", {}, "leads nowhere"),
    ],
)
def test_a_path_that_does_not_fit_says_so(tmp_path, document, rows, columns, message):
    picture(tmp_path / "images/0.png", 0)
    (tmp_path / "t.json").write_text(json.dumps(document))
    labels = {"images": str(tmp_path / "t.json"), "rows": rows, "columns": columns}
    with pytest.raises(LabelError, match=message):
        listed(dataset("images", tmp_path / "images/*.png", labels))


def test_a_label_of_several_classes_is_refused_by_name(tmp_path):
    picture(tmp_path / "images/0.png", 0)
    (tmp_path / "t.csv").write_text("Image Index,Finding Labels\n0.png,a|b\n")
    columns = {"image": "Image Index", "label": "Finding Labels"}
    labels = {"images": str(tmp_path / "t.csv"), "columns": columns}
    with pytest.raises(LabelError, match=r"'a\|b' names several classes \(a, b\)"):
        listed(dataset("images", tmp_path / "images/*.png", labels))


def moments(folder, label="label"):
    """As Ego4D is published: who a segment belongs to stands above it, and it has two clocks."""
    steps = [(0.0, 0.2, "a"), (0.2, 0.48, "c")]
    labels = [
        {"start_time": 9.0 + s, "end_time": 9.0 + e, "video_start_time": s, "video_end_time": e}
        | {label: step}
        for s, e, step in steps
    ]
    document = {
        "videos": [
            {
                "video_uid": name,
                "label": "b",
                "clips": [{"clip_uid": "c", "annotations": [{"labels": labels}]}],
            }
            for name in ("v1", "v2")
        ]
    }
    for name in ("v1", "v2"):
        video(folder / f"videos/{name}.mp4", 12)
    (folder / "moments.json").write_text(json.dumps(document))
    given = {
        "segments": str(folder / "moments.json"),
        "rows": "videos.*.clips.*.annotations.*.labels.*",
        "columns": {
            **{"video": "video_uid", "start_s": "video_start_time", "end_s": "video_end_time"}
        },
    }
    return dataset("video", folder / "videos/*.mp4", given)


def test_a_row_has_the_columns_of_the_objects_around_it(tmp_path):
    config = moments(tmp_path)
    steps = {f"{v}.mp4#{t}": 0 if t < 5 else 2 for v in ("v1", "v2") for t in range(12)}
    assert all_labels(config) == steps
    changes = LabelChanges(
        frames={Owner("v1.mp4"): FrameChange(np.arange(5), np.ones(5, int))},
        times=lambda owner: (np.arange(12) / 25, (np.arange(12) + 0.5) / 25),
    )
    done = write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))
    after = all_labels(done.dataset)
    assert after == {k: 1 if k.startswith("v1") and int(k[7:]) < 5 else n for k, n in steps.items()}


def test_a_label_above_several_rows_is_not_changed_for_one_of_them(tmp_path):
    config = moments(tmp_path, label="step")
    assert set(all_labels(config).values()) == {1}
    changes = LabelChanges(
        frames={Owner("v1.mp4"): FrameChange(np.arange(5), np.zeros(5, int))},
        times=lambda owner: (np.arange(12) / 25, (np.arange(12) + 0.5) / 25),
    )
    with pytest.raises(LabelError, match="'label' of an object around several rows"):
        write_labels(config, listed(config)[0], changes, str(tmp_path / "to"))


def test_a_column_through_two_lists_is_refused_with_what_to_do(tmp_path):
    labels = moments(tmp_path).labels.model_dump(exclude_defaults=True)
    deep = "clips.*.annotations.*.labels.*"
    columns = {"video": "video_uid", "label": f"{deep}.label"}
    columns |= {f"{end}_s": f"{deep}.video_{end}_time" for end in ("start", "end")}
    config = dataset(
        "video", tmp_path / "videos/*.mp4", labels | {"rows": "videos.*", "columns": columns}
    )
    with pytest.raises(LabelError, match=r"goes through two lists; let labels\.rows go through"):
        listed(config)


@pytest.mark.parametrize(
    "text",
    [
        '{"a.png": "a", "b.png": "b", "a.png": "b"}',
        '[{"image": "a.png", "label": "a", "label": "b"}, {"image": "b.png", "label": "b"}]',
        '{"image": "b.png", "label": "b"}\n{"image": "a.png", "label": "a", "label": "b"}',
    ],
)
def test_a_key_that_is_twice_in_an_object_of_labels_is_refused_by_its_name(tmp_path, text):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "images" / name, 0)
    (tmp_path / "labels.json").write_text(text)
    config = dataset("images", tmp_path / "images/*.png", {"images": str(tmp_path / "labels.json")})
    with pytest.raises(LabelError, match=r"the key '(a\.png|label)' is twice in one object"):
        all_labels(config)


def test_a_video_that_is_twice_in_a_document_is_refused(tmp_path):
    config = activity_net(tmp_path)
    text = (tmp_path / "net.json").read_text().replace('"v2"', '"v1"')
    (tmp_path / "net.json").write_text(text)
    with pytest.raises(LabelError, match="the key 'v1' is twice in one object"):
        all_labels(config)
