import copy
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_audit.config import AuditConfig, ClipConfig, DatasetConfig
from ray_audit.errors import SpecificationError
from ray_audit.spec_yaml import apply_overrides
from tests.support.specifications import SPEC, parsed, refusal, spec

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
    ("section", "values", "reported"),
    [
        (AuditConfig, {**SPEC, "outptu": "x"}, "AuditConfig: outptu: unknown key; did you mean ou"),
        (AuditConfig, {"output": "o"}, "dataset: missing"),
        (ClipConfig, {"frame": 3}, "ClipConfig: frame: unknown key; did you mean frames?"),
        (ClipConfig, {"frames": 2, "stride": 3}, "stride 3 is larger than frames 2"),
    ],
)
def test_a_wrong_constructor_call_is_an_error_of_ours(section, values, reported):
    with pytest.raises(SpecificationError, match=re.escape(reported)):
        section(**values)


def test_a_constructor_takes_sections_and_mappings_alike():
    dataset = DatasetConfig(**SPEC["dataset"])
    assert AuditConfig(**{**SPEC, "dataset": dataset}) == AuditConfig(**SPEC) == parsed()


def test_an_error_in_a_nested_section_keeps_its_key():
    values = {**SPEC, "dataset": {**SPEC["dataset"], "clip": {"frames": 2, "stride": 3}}}
    with pytest.raises(SpecificationError, match=re.escape("dataset.clip: stride 3 is larger")):
        AuditConfig(**values)
