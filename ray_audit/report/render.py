"""The page with its document inside."""

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

_SCRIPTS = (
    "source.js",
    "colours.js",
    "decisions.js",
    "list.js",
    "plots.js",
    "timeline.js",
    "masks.js",
    "detail.js",
    "overview.js",
    "main.js",
)


def render_page(document: dict[str, Any]) -> str:
    """One HTML file without a reference to any other.

    Args:
        document: see `docs/decisions/0007-report.md`; names in it may hold anything.
    """
    page = files("ray_audit.report") / "page"
    script = "\n".join((page / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    template = Environment(autoescape=True).from_string(
        (page / "page.html").read_text(encoding="utf-8")
    )
    return template.render(
        title=f"{document['run']['name']} - label audit",
        css=Markup((page / "report.css").read_text(encoding="utf-8")),
        document=Markup(as_script_data(document)),
        script=Markup(f'"use strict";\n(() => {{\n{script}\n}})();'),
    )


def as_script_data(value: Any) -> str:
    r"""JSON that may stand in a script element, whatever its strings hold.

    >>> as_script_data("</script>")
    '"\\u003c/script>"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
