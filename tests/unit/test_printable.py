import pytest

from ray_audit.printable import printable


@pytest.mark.parametrize(
    "text",
    ["\x1b]0;title\x07", "a\nb", "a\rb", "\x9b31m", "\x7f", "\u2028", "\u202egnp.exe", "\ud800"],
    ids=ascii,
)
def test_what_a_terminal_acts_on_is_written_as_an_escape(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape") == text


@pytest.mark.parametrize("text", ["phases-nightly", "手術 🙂", "א\u200cב", "👩\u200d⚕️", "a\u00a0b"])
def test_letters_of_any_script_stay_as_they_are(text):
    assert printable(text) == text
