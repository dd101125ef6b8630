import pytest

from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError
from tests.support.specifications import parsed, refusal, spec


def test_defaults():
    config = parsed()
    assert (config.name, config.protocol) == ("audit", "training")
    assert config.scores == ["csl", "vog", "softmin"]
    assert (config.dataset.clip.frames, config.dataset.clip.step) == (32, 16)
    assert config.dataset.max_px == 3.0e8
    assert config.softmin.temperature == 0.1
    assert (config.vog.target, config.vog.window) == ("loss", "all")
    assert config.engine.batch_size == config.engine.num_gpus == "auto"
    assert (config.engine.threads_per_actor, config.engine.start_timeout_s) == (1, 600)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("datasets", "dataset"),
        ("outptu", "output"),
        ("dataset.class", "classes"),
        ("dataset.labels.frame", "frames"),
        ("dataset.labels.columns.lable", "label"),
        ("dataset.clip.strides", "stride"),
        ("dataset.tile.overlaps", "overlap"),
        ("model.factroy", "factory"),
        ("model.input.sizes", "size"),
        ("vog.windows", "window"),
        ("softmin.temprature", "temperature"),
        ("engine.batchsize", "batch_size"),
        ("engine.batch-size", "batch_size"),
        ("failures.max-fraction", "max_fraction"),
        ("gates.max_fail_fraction", "max_failed_fraction"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(key, nearest):
    assert f"{key}: unknown key; did you mean {nearest}?" in refusal(f"{key}=1")


def test_an_unknown_key_like_no_other_brings_the_known_ones():
    known = "vog.zzz: unknown key; known keys: target, at, window, keep_moments"
    assert known in refusal("vog.zzz=1")


@pytest.mark.parametrize("key", ["dataset", "model", "checkpoints", "output"])
def test_a_missing_key_is_named(key):
    values = spec()
    del values[key]
    with pytest.raises(SpecificationError, match=f"{key}: missing"):
        AuditConfig.parse(values)


def test_every_problem_is_told_at_once():
    message = refusal("engine.batchsize=1", "dataset.kind=movie", "softmin.temperature=0")
    assert all(key in message for key in ("engine.batchsize", "dataset.kind", "softmin.temperat"))


@pytest.mark.parametrize(
    "override",
    [
        "engine.batch_size=0",
        "engine.batch_size=many",
        "engine.num_gpus=-1",
        "engine.start_timeout_s=0",
        "engine.threads_per_actor=0",
        "engine.precision=float16",
        "failures.max_fraction=1.5",
        "failures.max_count=-1",
        "softmin.temperature=0",
        "vog.target=logits",
        "vog.window=middle",
        "scores=[]",
        "scores=[speed]",
        "protocol=test",
        "checkpoints=[]",
        "dataset.classes=[]",
        "dataset.clip.frames=0",
        "dataset.clip.every=0",
        "dataset.max_px=0",
        "model.factory=package.module.function",
        "model.factory='os:system; rm'",
        "model.input.size=[112]",
        "model.input.std=[0]",
        "output=''",
        "name=''",
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(override):
    key = override.partition("=")[0]
    assert f"specification: {key}: " in refusal(override).replace(".0: ", ": ").replace(
        ".1: ", ": "
    )


def test_the_value_that_was_got_is_told():
    assert "engine.batch_size: " in refusal("engine.batch_size=-4")
    assert "got -4" in refusal("engine.batch_size=-4")


def dataset_of(kind, **labels):
    values = spec(f"dataset.kind={kind}")
    values["dataset"]["labels"] = labels
    return values


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("video", "images"),
        ("video", "column"),
        ("video", "arrays"),
        ("images", "frames"),
        ("images", "segments"),
        ("images", "videos"),
        ("images", "arrays"),
        ("sequences", "videos"),
        ("sequences", "masks"),
        ("sequences", "column"),
    ],
)
def test_labels_of_another_kind_are_refused(kind, form):
    value = True if form == "folder" else "x"
    with pytest.raises(SpecificationError, match=f"labels.{form} does not go with kind {kind}"):
        AuditConfig.parse(dataset_of(kind, **{form: value}))


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("video", "frames"),
        ("video", "segments"),
        ("video", "videos"),
        ("images", "masks"),
        ("images", "images"),
        ("images", "folder"),
        ("images", "column"),
        ("sequences", "arrays"),
        ("sequences", "frames"),
        ("sequences", "segments"),
    ],
)
def test_labels_of_the_kind_are_taken(kind, form):
    value = True if form == "folder" else "x"
    config = AuditConfig.parse(dataset_of(kind, **{form: value}))
    assert config.dataset.labels.form == form


@pytest.mark.parametrize(
    ("labels", "result"), [({}, "none"), ({"frames": "a", "segments": "b"}, "frames, segments")]
)
def test_labels_have_exactly_one_form(labels, result):
    with pytest.raises(SpecificationError, match=f"exactly one of.*got {result}"):
        AuditConfig.parse(dataset_of("video", **labels))


def test_tiles_go_with_masks_only():
    values = dataset_of("images", folder=True)
    values["dataset"]["tile"] = {"size": 64}
    with pytest.raises(SpecificationError, match=r"tile goes with labels\.masks only"):
        AuditConfig.parse(values)


def test_an_overlap_is_below_the_tile():
    values = dataset_of("images", masks="x")
    values["dataset"]["tile"] = {"size": 64, "overlap": 64}
    with pytest.raises(SpecificationError, match="overlap 64 must be smaller than size 64"):
        AuditConfig.parse(values)


def test_classes_are_unique_and_the_double_one_is_named():
    assert "'b'" in refusal("dataset.classes=[a, b, b]")


def test_a_stride_that_leaves_a_gap_is_refused():
    message = refusal("dataset.clip={frames: 8, stride: 9}")
    assert "stride 9 is larger than frames 8" in message
    assert "every" in message


@pytest.mark.parametrize("stride", [1, 8])
def test_a_stride_up_to_the_clip_is_taken(stride):
    assert parsed(f"dataset.clip={{frames: 8, stride: {stride}}}").dataset.clip.step == stride


@pytest.mark.parametrize(("frames", "step"), [(1, 1), (2, 1), (9, 4)])
def test_the_default_stride_is_half_a_clip(frames, step):
    assert parsed(f"dataset.clip.frames={frames}").dataset.clip.step == step


def test_whole_sequences_need_no_stride():
    assert parsed("dataset.clip={frames: null}").dataset.clip.frames is None


def test_mean_and_std_have_the_same_channels():
    message = refusal("model.input={mean: [0, 0, 0], std: [1]}")
    assert "mean has 3 channels, std has 1" in message


def test_two_failure_budgets_are_refused():
    message = refusal("failures={max_fraction: 0.1, max_count: 3}")
    assert "failures: give max_fraction or max_count, not both" in message


@pytest.mark.parametrize(
    ("budget", "failed", "over"),
    [
        ({}, 1, False),
        ({}, 2, True),
        ({"max_count": 0}, 0, False),
        ({"max_count": 0}, 1, True),
        ({"max_count": 5}, 5, False),
        ({"max_count": 5}, 6, True),
        ({"max_fraction": 0}, 0, False),
        ({"max_fraction": 0}, 1, True),
        ({"max_fraction": 0.25}, 25, False),
        ({"max_fraction": 0.25}, 26, True),
        ({"max_fraction": 1}, 100, False),
    ],
)
def test_the_budget_of_100_samples(budget, failed, over):
    assert AuditConfig.parse(spec() | {"failures": budget}).failures.exceeded(failed, 100) is over
