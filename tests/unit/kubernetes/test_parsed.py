"""A rendered file that means something else than was said is found before any is written."""

import re

import pytest
import yaml

from ray_audit.errors import SpecificationError
from ray_audit.kubernetes.deployment import Deployment
from ray_audit.kubernetes.parsed import check_rendered
from ray_audit.kubernetes.render import promql_string
from tests.support.rendered import CONFIG, IMAGE, rendered

AUDIT = promql_string(CONFIG.name)
(KEPT,) = yaml.safe_load(rendered()["base/specification.yaml"])["data"].values()


def held(texts, **changes):
    check_rendered(texts, Deployment(IMAGE, **changes), yaml.safe_load(KEPT), AUDIT)


def test_what_was_rendered_means_what_was_said():
    held(rendered())


@pytest.mark.parametrize(
    ("path", "was", "becomes", "said"),
    [
        ("base/access.yaml", "kind: Role\n", "kind: [\n", "would be no YAML"),
        ("base/access.yaml", "kind: Role\n", "", "would hold no object of Kubernetes"),
        ("nightly-cronjob/cronjob.yaml", "    kind: RayJob\n", "", "would hold no object"),
        ("once/rayjob.yaml", '"phases-nightly-once"', "true", "True would be no name"),
        ("once/rayjob.yaml", '"phases-nightly-once"', '"Phases"', "'Phases' would be no name"),
        ("monitoring/rules.yaml", f"audit={AUDIT}", "audit=~'.*'", "would not ask for the audit"),
        ("base/specification.yaml", "name: phases-nightly\n", "name: true\n", "read otherwise"),
    ],
)
def test_a_file_that_means_something_else_is_refused(path, was, becomes, said):
    text = rendered()[path]
    assert was in text
    with pytest.raises(SpecificationError, match=f"{path}.*{re.escape(said)}"):
        held(rendered() | {path: text.replace(was, becomes)})


def test_a_schedule_that_reads_otherwise_is_refused():
    with pytest.raises(SpecificationError, match=r"cronjob\.yaml: the schedule would read"):
        held(rendered(), schedule="0 3 * * *")
