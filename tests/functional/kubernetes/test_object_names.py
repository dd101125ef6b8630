"""One audit, one name: whatever audits are called, they share no object, and each file means it."""

import functools
import itertools
import json
import re
import shutil
import subprocess

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError
from ray_audit.kubernetes.deployment import Deployment
from ray_audit.kubernetes.object_names import MAX_LENGTH, SUFFIXES, kubernetes_name
from ray_audit.kubernetes.render import promql_string, render, yaml_string
from tests.support.manifests import ROOT, parsed, problems

CONFIG = AuditConfig.load(ROOT / "k8s/example.yaml")
RAY = {"RayJob", "RayCronJob"}
IMAGE = "ghcr.io/example/ray-audit:0.2.0-ray2.60.0"
# Names that differ in what Kubernetes does not allow, or behind where they are cut; words of YAML;
# signs that end a scalar of YAML, a string of PromQL or a template.
ODD = [
    *("phases-nightly", "phases_nightly", "Phases-Nightly", "phases.nightly", "phases #nightly"),
    *("phases: nightly", "phases\nnightly", "phases\r\nnightly", "phases\u2028nightly"),
    *("手術", "内視鏡", "🙂", "نمی\u200cشود", "e\u0301", "é", "\ufeffphases", "a\u00a0b", "a\tb"),
    *("true", "null", "yes", "no", "~", "1", "1e3", "0x1", "2026-01-01", ".inf", "-", "- a", "? a"),
    *(
        "'",
        '"',
        "\\",
        "a'b\"c\\d",
        "$1",
        "${x}",
        "[[ name ]]",
        "{{ $labels.audit }}",
        "{a: b}",
        "[a]",
    ),
    *("&a", "*a", "!a", "%a", "@a", "`a`", "|", ">", " a ", "a" * 29),
    *("a" * 30, "a" * 31, "a" * 300, "x", "x starter", "x-starter", "x-start", "x-once", "x-head"),
    *("2026 phases of the whole hospital", "2026 phases of the whole hospital, theatre 2"),
    *("surgical phases hospital north theatre 1", "surgical phases hospital north theatre 2"),
]


@functools.cache
def texts_of(name):
    return render(CONFIG.model_copy(update={"name": name}), Deployment(IMAGE))


def objects(name):
    """(kind, name) of everything that a cluster is given, and of what it makes of them."""
    for path, text in texts_of(name).items():
        if "kustomization" not in path:
            for document in parsed(text):
                yield document["kind"], document["metadata"]["name"]
    base = kubernetes_name(name)
    for end in ("2026-01-01", "2026-01-01-2", "2026-01-01-9", "29931332", "once"):
        yield "RayJob", f"{base}-{end}"
        yield "Job", f"{base}-{end}"  # KubeRay's submitter
        yield "Service", f"{base}-{end}-head-svc"
    yield "Job", f"{base}-start-29931332"  # the CronJob's


@pytest.fixture(scope="module")
def made():
    return {name: list(objects(name)) for name in ODD}


def test_two_audits_never_share_an_object(made):
    for (a, of_a), (b, of_b) in itertools.combinations(made.items(), 2):
        assert not set(of_a) & set(of_b), (a, b)


def test_an_audit_makes_no_name_twice(made):
    for name, found in made.items():
        assert len(set(found)) == len(found) - 1, name  # RayJob NAME-once is rendered as well


def test_names_are_within_the_limits_of_kuberay(made):
    limits = {"RayJob": 47, "RayCronJob": 36, "CronJob": 52}
    for name, found in made.items():
        for kind, item in found:
            assert len(item) <= limits.get(kind, 63), (name, kind, item)
            assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", item)


@given(st.text(min_size=1), st.text(min_size=1))
@example("a-b", "a_b")
def test_different_names_give_different_objects(a, b):
    assert len(kubernetes_name(a)) <= MAX_LENGTH
    assert (kubernetes_name(a) == kubernetes_name(b)) == (a == b)


def test_a_name_that_kubernetes_takes_stays_as_it_is():
    assert kubernetes_name("phases-nightly") == "phases-nightly"
    assert kubernetes_name("a" * MAX_LENGTH) == "a" * MAX_LENGTH


def test_every_suffix_of_the_templates_is_reserved():
    texts = render(CONFIG, Deployment(IMAGE)).values()
    used = {match for text in texts for match in re.findall(r'"phases-nightly-([a-z]+)"', text)}
    assert used == SUFFIXES


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_every_name_gives_manifests_that_mean_it(name):
    texts = texts_of(name)
    for path, text in texts.items():
        for document in parsed(text):
            # The schemas of Ray's kinds are large: they are held to them in test_deployment.
            assert document["kind"] in {*RAY, "Kustomization"} or problems(document) == [], path
    rules = parsed(texts["monitoring/rules.yaml"])[0]["spec"]["groups"][0]["rules"]
    for rule in rules:
        strings = re.findall(r'audit=("(?:[^"\\]|\\.)*")', rule["expr"])
        assert {read_promql(string) for string in strings} == {name}
        assert "\n" not in rule["expr"]
    for monitor in parsed(texts["monitoring/podmonitors.yaml"]):
        (label,) = monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]
        assert label["replacement"].replace("$$", "$") == name
    (kept,) = parsed(texts["base/specification.yaml"])[0]["data"].values()
    assert AuditConfig.parse(yaml.safe_load(kept)).name == name


def read_promql(quoted):
    long = re.sub(r"\\U00([0-9a-f]{6})", lambda found: chr(int(found[1], 16)), quoted)
    return json.loads(long, strict=False)


@pytest.mark.parametrize(
    "name", ["a\x7fb", "a\x85b", "a\x00b", "a\x1b[31mb", "a\uffffb", "a\ud800b"], ids=ascii
)
def test_a_name_that_kustomize_cannot_carry_is_refused(name):
    with pytest.raises(SpecificationError, match="control character"):
        texts_of(name)


def test_a_name_that_makes_an_object_too_large_for_the_server_is_refused():
    with pytest.raises(SpecificationError, match="give the audit a shorter name"):
        render(CONFIG.model_copy(update={"name": "a" * 100_000}), Deployment(IMAGE))


@given(st.text())
def test_any_text_is_one_scalar_of_yaml_and_one_string_of_promql(text):
    assert yaml.safe_load(f"a: {yaml_string(text)}\nb: 1") == {"a": text, "b": 1}
    assert promql_string(text).isprintable()
    assert read_promql(promql_string(text)) == text


def written(folder):
    """Every folder of every audit, one folder per audit; its kustomizations."""
    found = []
    for index, name in enumerate(ODD):
        for path, text in texts_of(name).items():
            to = folder / str(index) / path
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_text(text)
            if path.endswith("kustomization.yaml"):
                found.append(str(to.parent.relative_to(folder)))
    return found


def test_kustomize_puts_all_audits_into_one_namespace(tmp_path):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    folders = written(tmp_path)
    root = {"kind": "Kustomization", "resources": folders, "namespace": "ray-audit"}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(root))
    # It refuses what is there twice.
    built = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert built.returncode == 0, built.stderr
    result = {}
    for document in parsed(built.stdout):
        assert document["metadata"].pop("namespace") == "ray-audit"
        result[document["kind"], document["metadata"]["name"]] = document
    for folder in folders:
        for file in (tmp_path / folder).glob("*.yaml"):
            for document in parsed(file.read_text()):
                if document["kind"] != "Kustomization":
                    document["metadata"].pop("namespace", None)
                    assert result.pop((document["kind"], document["metadata"]["name"])) == document
    assert not result


def test_prometheus_reads_the_rules_of_every_name_and_fires_them(tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    files, series, alerts = [], [], []
    for index, name in enumerate(ODD):
        spec = parsed(texts_of(name)["monitoring/rules.yaml"])[0]["spec"]
        files.append(f"{index}.yaml")
        (tmp_path / files[-1]).write_text(yaml.safe_dump(spec))
        labels = f"{{audit={promql_string(name)}}}"
        series_name = f"ray_audit_last_success_timestamp_seconds{labels}"
        series.append({"series": series_name, "values": "0x400"})
        summary = f"{name} has not succeeded for 1d 4h 0m 0s."
        runbook = "docs/operations.md#rayauditnosuccess"
        alerts.append(
            {
                "exp_labels": {"audit": name, "severity": "critical"},
                "exp_annotations": {"summary": summary, "runbook": runbook},
            }
        )
    fires = {"eval_time": "28h", "alertname": "RayAuditNoSuccess", "exp_alerts": alerts}
    test = {"interval": "5m", "input_series": series, "alert_rule_test": [fires]}
    given = {"rule_files": files, "evaluation_interval": "1h", "tests": [test]}
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(given))
    promtool(tmp_path, "check", "rules", "--lint=all", "--lint-fatal", *files)
    promtool(tmp_path, "test", "rules", "alerts.yaml")


def promtool(cwd, *arguments):
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[:3000]
