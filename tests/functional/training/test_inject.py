import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ray_audit import rle
from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError
from ray_audit.formats.labels.given import GivenLabels
from ray_audit.samples import IGNORE
from ray_audit.training.inject import inject
from ray_audit.training.planting import KINDS_OF
from tests.support import label_sets
from tests.support.label_sets import all_labels, files_of, listed
from tests.support.masked_videos import masked_videos
from tests.support.volumes import seen_volumes


def specification(config):
    return AuditConfig.model_validate(
        {
            "dataset": config.model_dump(exclude_unset=True),
            "model": {"factory": "a.b:c"},
            "checkpoints": "ck/*.pt",
            "output": "out",
        }
    )


def planted(tmp_path, form, rate=0.5, **options):
    (tmp_path / "data").mkdir(exist_ok=True)
    config = label_sets.FORMS[form](tmp_path / "data")
    done = inject(specification(config), str(tmp_path / "to"), rate, **options)
    return config, done


@pytest.mark.parametrize("form", label_sets.FORMS)
def test_the_truth_is_the_difference_of_the_labels_as_read_back(tmp_path, form):
    config, done = planted(tmp_path, form, seed=3)
    before = all_labels(config)
    after = all_labels(AuditConfig.load(done.spec).dataset)
    truth = pq.read_table(done.truth).to_pylist()
    if form == "folders":
        # A moved image has another name: of the rest, name and label are equal.
        wrong = {row["sample_id"] for row in truth if row["is_error"]}
        assert {k: v for k, v in after.items() if k not in wrong}.items() <= before.items()
        assert after.keys() == {row["sample_id"] for row in truth}
        assert all(after[row["sample_id"]] != row["true_label"] for row in truth if row["is_error"])
        assert len(after) == len(before)
    else:
        assert after.keys() == before.keys()
        labelled = {k for k, v in before.items() if not np.array_equal(v, IGNORE)}
        assert {row["sample_id"] for row in truth} == labelled
        for row in truth:
            old, new = before[row["sample_id"]], after[row["sample_id"]]
            assert row["is_error"] == (not np.array_equal(old, new))
            if config.task.is_dense:
                assert row["wrong_px"] == (old != new).sum()
            else:
                assert row["true_label"] == old
        void = before.keys() - labelled
        assert all(after[key] == IGNORE for key in void)
    assert done.num_errors == sum(row["is_error"] for row in truth) > 0
    assert sum(done.kinds.values()) == int(0.5 * done.num_items)
    assert {row["kind"] for row in truth if row["is_error"]} <= set(KINDS_OF[done.labels])


def test_the_seed_decides(tmp_path):
    config = label_sets.masks(tmp_path)
    copies = []
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        inject(specification(config), str(tmp_path / name), 0.5, seed=seed)
        content = files_of(tmp_path / name)
        content.pop("spec.yaml")
        copies.append(content)
    assert copies[0] == copies[1]
    assert copies[0] != copies[2]


def test_the_specification_differs_in_its_paths_only(tmp_path):
    config, done = planted(tmp_path, "frames.csv")
    spec = AuditConfig.load(done.spec)
    assert spec.output == done.output == str(tmp_path / "to/audit")
    assert spec.dataset.labels.frames == str(tmp_path / "to/labels/frames.csv")
    assert spec.dataset.uri == config.uri
    assert spec.checkpoints.endswith("/ck/*.pt")
    assert spec.checkpoints.startswith("/")
    assert spec.model == specification(config).model


@pytest.mark.parametrize("form", ["masks png", "frames.csv", "images"])
def test_a_dry_run_writes_nothing(tmp_path, form):
    _, done = planted(tmp_path, form, dry_run=True)
    assert not (tmp_path / "to").exists()
    assert (done.spec, done.truth, done.num_errors) == (None, None, None)
    assert sum(done.kinds.values()) == done.num_items // 2


def test_a_limit_plants_in_the_first_shards_only(tmp_path):
    _, done = planted(tmp_path, "masks png", limit=4, kinds=["swap"])
    assert done.kinds == {"swap": 2}
    truth = pq.read_table(done.truth)["sample_id"].to_pylist()
    assert truth == [f"i{i}.png" for i in range(4)]


def test_no_more_than_two_masks_are_read_for_one_that_is_written(tmp_path, monkeypatch):
    read = []
    original = GivenLabels.mask
    monkeypatch.setattr(
        GivenLabels, "mask", lambda self, owner: read.append(owner) or original(self, owner)
    )
    planted(tmp_path, "masks png", rate=0.25, kinds=["swap"])
    # Two are changed; each is read when it is chosen and when it is written.
    assert len(read) <= 4


def test_instance_errors_look_at_images(tmp_path):
    config = label_sets.class_folders(tmp_path / "data")
    done = inject(specification(config), str(tmp_path / "to"), 0.4, ["instance"])
    assert done.kinds == {"instance": 3}
    (tmp_path / "other").mkdir()
    with pytest.raises(SpecificationError, match="pixels of images"):
        planted(tmp_path / "other", "videos", kinds=["instance"])


def test_features_are_pixels_and_unreadable_images_have_none(tmp_path):
    for name, pixels in (("a/grey.png", np.full((20, 30), 51)), ("b/two.png", np.eye(16) * 255)):
        path = tmp_path / name
        path.parent.mkdir()
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    (tmp_path / "a/broken.png").write_bytes(b"no image")
    config = label_sets.dataset("images", tmp_path / "*/*.png", {"folder": True})
    found = {o.shard_key: values for o, values in listed(config)[1].image_features()}
    assert found.keys() == {"a/grey.png", "b/two.png"}
    assert found["a/grey.png"] == pytest.approx(np.full(192, 0.2))
    assert found["b/two.png"].reshape(8, 8, 3)[..., 1] == pytest.approx(np.eye(8) / 2)


def test_a_class_makes_segmentation_errors_systematic(tmp_path):
    config = label_sets.masks(tmp_path)
    done = inject(specification(config), str(tmp_path / "to"), 1, ["over"], systematic_class="c")
    before, after = all_labels(config), all_labels(AuditConfig.load(done.spec).dataset)
    for key, old in before.items():
        assert set(after[key][after[key] != old]) == {2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ["swapp"]}, "got swapp; expected some of drop, swap"),
        ({"rate": 1.5}, "rate 1.5"),
        ({"systematic_class": "z"}, "class 'z' is none of a, b, c"),
    ],
)
def test_wrong_wishes_are_refused_before_any_work(tmp_path, options, message):
    with pytest.raises(SpecificationError, match=message):
        planted(tmp_path, "masks png", **options)
    assert not (tmp_path / "to").exists()


def test_a_target_with_files_is_refused(tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to/mine.txt").write_text("x")
    with pytest.raises(SpecificationError, match="is not empty"):
        planted(tmp_path, "frames.csv")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["mine.txt"]


def test_the_regions_are_the_components_of_the_wrong_pixels(tmp_path):
    config, done = planted(tmp_path, "masks png", seed=3, kinds=["drop", "over"])
    before = all_labels(config)
    after = all_labels(AuditConfig.load(done.spec).dataset)
    regions = pq.read_table(tmp_path / "to/truth_regions.parquet").to_pylist()
    assert regions
    for row in regions:
        wrong = before[row["sample_id"]] != after[row["sample_id"]]
        region = rle.decode(row["mask_rle"], tuple(row["mask_size_px"]))
        assert region.shape == wrong.shape
        assert wrong[region].all()
        assert row["num_px"] == region.sum()
        x0, y0, x1, y1 = row["box"]
        assert region[y0:y1, x0:x1].sum() == row["num_px"]
    truth = {row["sample_id"]: row for row in pq.read_table(done.truth).to_pylist()}
    assert {row["kind"] for row in regions} <= {"drop", "over"}
    assert all(truth[row["sample_id"]]["kind"] == row["kind"] for row in regions)


@pytest.mark.parametrize("form", ["volume", "masks of frames"])
def test_masks_that_cannot_be_read_to_their_end_are_left_out_and_named(tmp_path, form):
    if form == "volume":
        small, path = seen_volumes(tmp_path), tmp_path / "data/labels/v0.nii.gz"
    else:
        small, path = masked_videos(tmp_path, form="npy"), tmp_path / "data/masks/v0.npy"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    done = inject(small.config(), str(tmp_path / "to"), 0.5)
    (note,) = (note for note in done.notes if note.startswith("Left out: v0."))
    assert "cannot be read to their end" in note
    truth = pq.read_table(done.truth).to_pylist()
    assert {row["sample_id"].partition(".")[0] for row in truth} == {"v1"}
    assert sum(row["is_error"] for row in truth) == done.num_errors > 0
    assert not [*(tmp_path / "to/labels").rglob("v0*")]
