"""The page with its document inside."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

_BESIDE = "'self' file:"
_SCRIPTS = (
    "source.js",
    "colours.js",
    "decisions.js",
    "list.js",
    "plots.js",
    "timeline.js",
    "masks.js",
    "detail.js",
    "gallery.js",
    "overview.js",
    "changes.js",
    "main.js",
)


def render_page(document: dict[str, Any]) -> str:
    """One HTML file without a reference to any other.

    Args:
        document: see `docs/decisions/0007-report.md`; names in it may hold anything.
    """
    template = Environment(autoescape=True).from_string(_text("page.html"))
    return template.render(
        title=f"{document['run']['name']} - label audit",
        # A server says the policy itself.
        policy=None if document["mode"] == "server" else policy(document["mode"] == "folder"),
        css=Markup(_style()),
        document=Markup(as_script_data(document)),
        script=Markup(_script()),
    )


def policy(has_files: bool = False) -> str:
    """Content security policy: the page's own script and style, pictures within it, no more.

    Args:
        has_files: whether it loads scripts from beside it, served or from a disk, where 'self' is
            no origin.
    """
    scripts = f"{_source(_script())}{' ' + _BESIDE if has_files else ''}"
    return (
        f"default-src 'none'; script-src {scripts}; style-src {_source(_style())}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _text(name: str) -> str:
    return (files("ray_audit.report") / "page" / name).read_text(encoding="utf-8")


@cache
def _style() -> str:
    return _text("report.css")


@cache
def _script() -> str:
    script = "\n".join(_text(name) for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{script}\n}})();'


def as_script_data(value: Any) -> str:
    r"""JSON that may stand in a script element, whatever its strings hold.

    >>> as_script_data("</script>")
    '"\\u003c/script>"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
