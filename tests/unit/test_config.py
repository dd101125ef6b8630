import copy
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_audit.config import AuditConfig, ClipConfig, DatasetConfig
from ray_audit.errors import SpecificationError
from ray_audit.spec_yaml import apply_overrides

SPEC = {
    "dataset": {
        "kind": "video",
        "uri": "s3://bucket/videos/*.mp4",
        "labels": {"frames": "s3://bucket/frames.csv"},
        "classes": ["a", "b"],
    },
    "model": {"factory": "package.module:function"},
    "checkpoints": "s3://bucket/epoch_*.safetensors",
    "output": "s3://bucket/audits",
}


def spec(*overrides):
    return apply_overrides(copy.deepcopy(SPEC), list(overrides))


def parsed(*overrides):
    return AuditConfig.parse(spec(*overrides))


def refusal(*overrides):
    with pytest.raises(SpecificationError) as error:
        parsed(*overrides)
    return str(error.value)


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
    assert "vog.zzz: unknown key; known keys: target, window, keep_moments" in refusal("vog.zzz=1")


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
    ("labels", "got"), [({}, "none"), ({"frames": "a", "segments": "b"}, "frames, segments")]
)
def test_labels_have_exactly_one_form(labels, got):
    with pytest.raises(SpecificationError, match=f"exactly one of.*got {got}"):
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


SECRET = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    "override",
    [
        f"dataset.uri=s3://AKIA:{SECRET}@bucket/x",
        f"dataset.uri=[s3://AKIA:{SECRET}@bucket/x]",
        f"checkpoints=https://{SECRET}@host/epoch.pt",
        f"checkpoints=[s3://ok/a.pt, s3://AKIA:{SECRET}@bucket/x]",
        f"output=s3://AKIA:{SECRET}@bucket/audits",
        f"dataset.labels={{frames: 's3://AKIA:{SECRET}@bucket/frames.csv'}}",
        f"dataset.labels={{segments: 's3://AKIA:{SECRET}@bucket/{{stem}}.csv'}}",
    ],
)
def test_credentials_in_a_uri_are_refused_and_never_repeated(override):
    message = refusal(override)
    assert "credentials must not stand in a URI" in message
    assert override.partition("=")[0] in message
    assert SECRET not in message


def test_an_at_sign_in_a_path_is_no_credential():
    assert parsed("dataset.uri=s3://bucket/team@home/*.mp4").dataset.uri.endswith("*.mp4")


def written(tmp_path, text):
    path = tmp_path / "audit.yaml"
    path.write_text(text)
    return path


def load_refusal(path, *overrides):
    with pytest.raises(SpecificationError) as error:
        AuditConfig.load(path, list(overrides))
    assert str(path) in str(error.value) or overrides
    return str(error.value)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {marker}']",
        "!!python/object/new:os.system ['touch {marker}']",
        "!!python/name:os.system",
        "!!python/module:os",
    ],
)
def test_a_tag_of_yaml_runs_nothing(tmp_path, tag):
    marker = tmp_path / "ran"
    tagged = tag.format(marker=marker)
    assert "not plain YAML" in load_refusal(written(tmp_path, f"name: {tagged}\n"))
    with pytest.raises(SpecificationError, match="--set name="):
        AuditConfig.load(written(tmp_path, yaml.safe_dump(SPEC)), [f"name={tagged}"])
    assert not marker.exists()


def test_broken_yaml_is_located_and_not_repeated(tmp_path):
    path = written(tmp_path, f"name: x\noutput: s3://AKIA:{SECRET}@bucket: [\n")
    message = load_refusal(path)
    assert "line 2" in message
    assert SECRET not in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text\n"])
def test_a_file_without_keys_is_refused(tmp_path, text):
    assert "expected a mapping of keys" in load_refusal(written(tmp_path, text))


def test_a_key_given_twice_is_refused(tmp_path):
    text = yaml.safe_dump(SPEC) + "output: elsewhere\n"
    assert "output is given twice" in load_refusal(written(tmp_path, text))


def test_a_yaml_anchor_may_be_merged(tmp_path):
    text = yaml.safe_dump(SPEC) + "engine: &e {batch_size: 4}\n"
    text = text.replace("model:", "model:\n  input: {<<: {mean: [1]}, std: [1]}")
    config = AuditConfig.load(written(tmp_path, text))
    assert config.model.input.mean == config.model.input.std == [1.0]


def test_a_missing_file_is_named(tmp_path):
    load_refusal(tmp_path / "none.yaml")


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "audit.yaml").write_bytes(b"\xff\xfe\x00")
    load_refusal(tmp_path / "audit.yaml")


def test_overrides_are_read_as_yaml_and_win(tmp_path):
    path = written(tmp_path, yaml.safe_dump(SPEC))
    overrides = ["engine.batch_size=8", "dataset.classes=[x, y]", "vog.target=logit", "tile=1"]
    config = AuditConfig.load(path, overrides[:-1])
    assert config.engine.batch_size == 8
    assert config.dataset.classes == ["x", "y"]
    assert config.vog.target == "logit"
    with pytest.raises(SpecificationError, match="tile: unknown key"):
        AuditConfig.load(path, overrides)


def test_an_override_keeps_the_values_beside_it():
    before = copy.deepcopy(SPEC)
    after = apply_overrides(SPEC, ["dataset.clip.frames=4"])
    assert after["dataset"] == SPEC["dataset"] | {"clip": {"frames": 4}}
    assert before == SPEC


@pytest.mark.parametrize("override", ["engine.batch_size", "=3", "", "a..b=1", ".a=1", "name=[1"])
def test_a_malformed_override_is_refused(override):
    with pytest.raises(SpecificationError, match="--set"):
        apply_overrides(SPEC, [override])


def test_an_override_below_a_plain_value_says_so():
    with pytest.raises(SpecificationError, match=r"checkpoints\.first"):
        apply_overrides(SPEC, ["checkpoints.first=1"])


COUNT = st.integers(1, 10**6)
AUTO = st.just("auto")


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.text(min_size=1),
            "protocol": st.sampled_from(["training", "held_out"]),
            "scores": st.lists(st.sampled_from(["csl", "vog", "softmin"]), min_size=1),
            "checkpoints": st.lists(st.from_regex(r"\A[a-z]{1,8}\.pt\Z"), min_size=1),
            "softmin": st.fixed_dictionaries({"temperature": st.floats(1e-6, 1e6)}),
            "vog": st.fixed_dictionaries(
                {
                    "target": st.sampled_from(["loss", "logit"]),
                    "window": st.sampled_from(["all", "early", "late"]),
                }
            ),
            "engine": st.fixed_dictionaries(
                {},
                optional={
                    "batch_size": COUNT | AUTO,
                    "actors_per_pool": COUNT | AUTO,
                    "num_gpus": st.floats(0, 8) | AUTO,
                    "cluster_max": st.none() | st.fixed_dictionaries({"CPU": st.floats(1, 99)}),
                },
            ),
            "failures": st.one_of(
                st.fixed_dictionaries({"max_count": st.integers(0)}),
                st.fixed_dictionaries({"max_fraction": st.floats(0, 1)}),
            ),
        },
    ),
    st.integers(1, 64).flatmap(
        lambda frames: st.fixed_dictionaries(
            {"frames": st.just(frames), "stride": st.none() | st.integers(1, frames)}
        )
    ),
)
def test_a_dumped_specification_is_read_back_equal(sections, clip):
    values = spec() | sections
    values["dataset"]["clip"] = clip
    config = AuditConfig.parse(values)
    assert AuditConfig.parse(config.model_dump()) == config
    assert AuditConfig.parse(config.model_dump(mode="json")) == config
    text = yaml.safe_dump(config.model_dump(mode="json"))
    assert AuditConfig.parse(yaml.safe_load(text)) == config


def test_a_specification_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parsed().name = "other"


@pytest.mark.parametrize(
    ("section", "values", "told"),
    [
        (AuditConfig, {**SPEC, "outptu": "x"}, "AuditConfig: outptu: unknown key; did you mean ou"),
        (AuditConfig, {"output": "o"}, "dataset: missing"),
        (ClipConfig, {"frame": 3}, "ClipConfig: frame: unknown key; did you mean frames?"),
        (ClipConfig, {"frames": 2, "stride": 3}, "stride 3 is larger than frames 2"),
    ],
)
def test_a_wrong_constructor_call_is_an_error_of_ours(section, values, told):
    with pytest.raises(SpecificationError, match=re.escape(told)):
        section(**values)


def test_a_constructor_takes_sections_and_mappings_alike():
    dataset = DatasetConfig(**SPEC["dataset"])
    assert AuditConfig(**{**SPEC, "dataset": dataset}) == AuditConfig(**SPEC) == parsed()


def test_an_error_in_a_nested_section_keeps_its_key():
    values = {**SPEC, "dataset": {**SPEC["dataset"], "clip": {"frames": 2, "stride": 3}}}
    with pytest.raises(SpecificationError, match=re.escape("dataset.clip: stride 3 is larger")):
        AuditConfig(**values)
