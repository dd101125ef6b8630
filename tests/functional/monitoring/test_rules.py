import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ray_audit.metrics import METRICS

ROOT = Path(__file__).parents[3]
RULE = yaml.safe_load((ROOT / "k8s/monitoring/rules.yaml").read_text())
MANIFESTS = ROOT / "ray_audit/kubernetes/manifests"
DASHBOARD = json.loads((MANIFESTS / "monitoring/dashboard.json").read_text())
ALERTS = [r for group in RULE["spec"]["groups"] for r in group["rules"] if "alert" in r]
# From Ray itself, not from this package.
RAYS_OWN = {"ray_node_gpus_utilization"}
# Of the scraped pod or the group in the Pushgateway: which audit it is.
TARGET_LABELS = {"audit"}


def expressions():
    for group in RULE["spec"]["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def promtool(*arguments, cwd):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def rules(tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULE["spec"]))
    return tmp_path


def test_prometheus_accepts_the_rules(rules):
    promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yaml", cwd=rules)


def test_each_alert_fires_when_it_should_and_not_otherwise(rules):
    shutil.copy(Path(__file__).parent / "alerts.yaml", rules)
    promtool("test", "rules", "alerts.yaml", cwd=rules)


def test_each_alert_has_a_test_and_an_entry_in_the_runbook():
    tested = (Path(__file__).parent / "alerts.yaml").read_text()
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs/operations.md").read_text(), re.M)
    for alert in ALERTS:
        assert f"alertname: {alert['alert']}\n        exp_alerts:\n" in tested, alert["alert"]
        assert alert["alert"] in headings
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{alert['alert'].lower()}"
    assert len({alert["alert"] for alert in ALERTS}) == 7


def test_rules_and_dashboard_ask_for_declared_metrics_and_labels_only():
    names = {metric.name: metric for metric in METRICS}
    for expression in expressions():
        for found in re.findall(r"\b(?:ray_audit|ray_node)_\w+\b(?!:)", expression):
            base = re.sub(r"_(bucket|sum|count)$", "", found)
            assert found in names or base in names or found in RAYS_OWN, expression
        for name, labels in re.findall(r"(ray_audit_\w+){([^}]*)}", expression):
            for label in re.findall(r"(\w+)[=!]", labels):
                assert label in {*names[name].labels, *TARGET_LABELS}, expression


def test_the_rules_of_an_audit_ask_for_that_audit_alone():
    for group in RULE["spec"]["groups"]:
        for rule in group["rules"]:
            selectors = re.findall(r"\bray_(?:audit|node)[\w:]+(?:{([^}]*)})?", rule["expr"])
            assert selectors
            assert all('audit="phases-nightly"' in labels for labels in selectors), rule


def test_the_dashboard_shows_every_metric():
    shown = " ".join(t["expr"] for panel in DASHBOARD["panels"] for t in panel["targets"])
    assert not [metric.name for metric in METRICS if metric.name not in shown]


def test_panels_have_their_own_places_and_numbers():
    cells = []
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells += [(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
