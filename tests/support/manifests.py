"""Manifests held against the schemas of the API server and of the custom resources."""

import json
from pathlib import Path

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "tests/k8s_schemas"
KUBERNETES = "1.31"


def parsed(text):
    """The documents of a file of YAML, by the parser in C: manifests are long."""
    return list(yaml.load_all(text, yaml.CSafeLoader))


def strict(schema):
    """A key that the schema does not know is an error here; the API server drops it in silence."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    known = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if known and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def custom_schema(path):
    schema = strict(json.loads(path.read_text()))
    # The API server knows the metadata itself: the definition says only that it is an object.
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _validators(folder):
    return {path.stem: Draft202012Validator(custom_schema(path)) for path in folder.glob("*.json")}


_CUSTOM = _validators(SCHEMAS)
KUBERAY_1_6 = _CUSTOM | _validators(SCHEMAS / "kuberay-1.6")


def problems(manifest, custom=_CUSTOM):
    """What is wrong with one manifest; empty where it is valid."""
    kind = manifest["kind"]
    if kind in custom:
        errors = custom[kind].iter_errors(manifest)
        return [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in errors]
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [str(error)[:300]]
    return []
