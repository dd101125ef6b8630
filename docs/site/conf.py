"""The docs as a site, built into build/site; a broken link or a failing notebook fails."""

import re
from pathlib import Path

import ray_audit

project = "ray_audit"
author = "The ray_audit authors"
version = release = ray_audit.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["site", "images"]
html_theme = "furo"
html_title = f"ray_audit {release}"
html_show_copyright = False
html_copy_source = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # links to headings, as a forge gives them
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 1200
nb_execution_in_temp = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True

_ROOT = Path(__file__).parents[2]
_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_ROOT_PAGE = re.compile(r"```\{include\} \.\./(\S+)\n```")
_LINK = re.compile(r"\[([^]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def _link(found: re.Match[str], at_root: bool) -> str:
    """A link of the repository on the site; the words alone of what the site does not hold."""
    words, path, anchor = found[1], found[2], found[3] or ""
    name = path.removeprefix("../") if not at_root else path
    if name in _PAGES:
        return f"[{words}](/{_PAGES[name]}{anchor})"
    if not at_root:
        return found[0]
    inside = name.startswith("docs/") and (_ROOT / name).is_file()
    return f"[{words}](/{name.removeprefix('docs/')}{anchor})" if inside else words


def _read_source(app, docname, source):  # noqa: ANN001, ANN202 - Sphinx's own signature
    """Take in the pages of the repository's root; lead links to where the site has them."""
    text = _LINK.sub(lambda found: _link(found, at_root=False), source[0])
    page = _ROOT_PAGE.search(text)
    if page:
        whole = _LINK.sub(lambda found: _link(found, at_root=True), (_ROOT / page[1]).read_text())
        text = text.replace(page[0], whole)
    source[0] = text


def _as_code(app, what, name, obj, options, lines):  # noqa: ANN001, ANN202 - Sphinx's own signature
    """Docstrings mark code by single backticks, as the pages do."""
    lines[:] = [re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line) for line in lines]


def setup(app):  # noqa: ANN001, ANN201 - Sphinx's own signature
    """Called by Sphinx."""
    app.connect("source-read", _read_source)
    app.connect("autodoc-process-docstring", _as_code)
