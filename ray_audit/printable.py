"""Text for people, of what others chose: names of files, classes and audits, answers of servers.

A terminal acts on some characters: an escape sequence sets its title or clears a line, and a line
break in a file name makes two lines of a log out of one.
"""

import unicodedata
from collections.abc import Iterable

# Cc: control characters, Cf: among them the marks that turn the direction of writing, Cs: halves of
# pairs, which no encoder takes, Zl and Zp: line and paragraph separators.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# They join the letters of Persian and of Indian scripts, and the parts of an emoji.
_JOINERS = {"\u200c", "\u200d"}
_NUM_NAMED = 3


def printable(text: str, keep: str = "") -> str:
    r"""The text with every character that is not seen written as an escape.

    Args:
        text: anything.
        keep: characters to leave as they are, such as a line break.

    >>> printable("x\x1b]0;title\x07.png"), printable("a\nb", keep="\n")
    ('x\\x1b]0;title\\x07.png', 'a\nb')
    """
    if text.isprintable():
        return text
    return "".join(
        character if _is_seen(character) or character in keep else _escape(character)
        for character in text
    )


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN or character in _JOINERS


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def few(names: Iterable[str]) -> str:
    """The first three names.

    >>> few("ab"), few("abcd")
    ('a, b', 'a, b, c, ...')
    """
    listed = list(names)
    return ", ".join(listed[:_NUM_NAMED]) + (", ..." if len(listed) > _NUM_NAMED else "")


def plural(count: int, noun: str) -> str:
    """A number of things.

    >>> plural(1, "key"), plural(2, "key")
    ('1 key', '2 keys')
    """
    return f"{count} {noun}" + ("" if count == 1 else "s")
