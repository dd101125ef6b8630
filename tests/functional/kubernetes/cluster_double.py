"""kubectl before an API server in one process: what `tests.cluster.check` asks of the two.

It keeps what is applied, knows the rights that stored roles give, and hands the starter on to the
double of the API server, which speaks HTTP.
"""

import json
import subprocess
from pathlib import Path

import yaml

from tests.functional.kubernetes.api_double import NAMESPACE


class ClusterDouble:
    """The cluster.

    Attributes:
        api: the double of the API server.
        url: where it answers.
        objects: what was applied, by kind and name.
        stored: makes of a document what is kept of it; the document itself, in a good server.
    """

    def __init__(self, api, url):
        self.api, self.url = api, url
        self.objects, self.stored = {}, lambda document: document

    def called(self, arguments, given):
        """As `check.called`, without a process."""
        words = [word for word in arguments if not word.startswith("--")]
        if words[0] == "-n":
            words = words[2:]
        answer = getattr(self, words[0])(words[1:], arguments, given)
        code, text = answer if isinstance(answer, tuple) else (0, answer)
        return subprocess.CompletedProcess(arguments, code, text, "" if code == 0 else text)

    def kustomize(self, words, arguments, given):
        return yaml.safe_dump_all(built(Path(words[0])))

    def apply(self, words, arguments, given):
        assert {"--server-side", "--validate=strict"} <= set(arguments)
        for document in yaml.safe_load_all(given):
            name = document["kind"], document["metadata"]["name"]
            self.objects[name] = self.stored(json.loads(json.dumps(document)))
        return ""

    def get(self, words, arguments, given):
        kind, name = words[0].partition(".")[0], words[1]
        return json.dumps(self.objects[kind, name])

    def auth(self, words, arguments, given):
        _, verb, resource = words
        name, _, group = resource.partition(".")
        (account,) = (word.rpartition(":")[2] for word in arguments if word.startswith("--as="))
        is_allowed = any(
            verb in rule["verbs"] and name in rule["resources"] and group in rule["apiGroups"]
            for rule in self._rules_of(account)
        )
        return (0, "yes\n") if is_allowed else (1, "no\n")

    def _rules_of(self, account):
        for (kind, _), document in self.objects.items():
            subject = {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
            if kind == "RoleBinding" and subject in document["subjects"]:
                yield from self.objects["Role", document["roleRef"]["name"]]["rules"]

    def config(self, words, arguments, given):
        return json.dumps({"clusters": [{"cluster": {"server": self.url}}]})

    def create(self, words, arguments, given):
        assert ("ServiceAccount", words[1]) in self.objects
        return f"token of {words[1]}"

    def patch(self, words, arguments, given):
        name, status = words[1], json.loads(words[3])["status"]
        with self.api.lock:
            if name not in self.api.jobs:
                return 1, "not found"
            self.api.jobs[name]["status"] = status
        return ""


def built(folder, namespace=None):
    """The documents of a kustomization, moved into its namespace."""
    root = yaml.safe_load((folder / "kustomization.yaml").read_text())
    namespace = namespace or root.get("namespace")
    for resource in root["resources"]:
        if (folder / resource).is_dir():
            yield from built(folder / resource, namespace)
            continue
        for document in yaml.safe_load_all((folder / resource).read_text()):
            document["metadata"]["namespace"] = namespace
            for subject in document.get("subjects", ()):
                subject["namespace"] = namespace
            yield document
