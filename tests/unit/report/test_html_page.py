import re
from importlib.resources import files

import pytest

from ray_audit.report.html_page import policy

PAGE = files("ray_audit.report") / "page"


def themes():
    css = (PAGE / "report.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root[^{]*\{([^}]*)\}", css)[:2]
    return [dict(re.findall(r"--(\w+): (#\w{6})", item)) for item in (light, dark)]


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, other):
    dark, light = sorted((luminance(first), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
def test_every_text_colour_has_contrast_on_every_ground(theme):
    """WCAG 2.2, level AA: 4.5 to 1."""
    for text in ("ink", "quiet", "accent", "accept", "reject", "warn"):
        for ground in ("paper", "panel", "mark"):
            assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)


def test_the_policy_lets_nothing_in_but_the_page_itself():
    assert policy().startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy()
    assert "http" not in policy()


def test_names_never_become_markup():
    """Text goes into the page as text: no script builds markup from strings."""
    for path in PAGE.iterdir():
        if path.name.endswith(".js"):
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacent|document\.write", path.read_text()
            )
