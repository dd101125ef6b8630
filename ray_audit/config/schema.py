"""The JSON schema of a specification."""

from typing import Any

from ray_audit.config.audit import AuditConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON schema of a specification, with a description on every key."""
    schema = AuditConfig.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for key in model["properties"].values():
            key["description"] = " ".join(key["description"].split())
    dataset = schema["$defs"]["DatasetConfig"]
    # A layout stands for all that is required.
    dataset["anyOf"] = [{"required": dataset.pop("required")}, {"required": ["layout", "root"]}]
    title = {"$schema": DIALECT, "title": "Specification of ray_audit"}
    return {**schema, **title, "description": "Read by `ray-audit plan` and `ray-audit run`."}
