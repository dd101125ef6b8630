"""Truth values as labels: what is one, and which class each of the two is."""

from collections.abc import Iterable

import numpy as np

_WORDS = (("true", "false"), ("yes", "no"), ("on", "off"), ("y", "n"))
"""What YAML takes for truth values, the usual words first."""


def truth_of(value: object) -> bool | None:
    """The truth value that a label is, stored as one or written; None where it is none.

    >>> truth_of(np.True_), truth_of("FALSE"), truth_of("yes"), truth_of(1)
    (True, False, None, None)
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def truth_texts(texts: Iterable[str]) -> dict[bool, str]:
    """The text that each truth value stands for, by the first two words of which there is one.

    Args:
        texts: names of classes, and all else that a label may be.

    Returns:
        Both, one of which may be no text that there is; empty where none is such a word.

    >>> truth_texts(["No", "Yes", "unsure"]), truth_texts(["true", "no"]), truth_texts(["a", "b"])
    ({True: 'Yes', False: 'No'}, {True: 'true', False: 'false'}, {})
    """
    # Of true and True both, the one in small letters is later, and stays.
    known = {text.lower(): text for text in sorted(texts)}
    for yes, no in _WORDS:
        if yes in known or no in known:
            return {True: known.get(yes, yes), False: known.get(no, no)}
    return {}


def written_like(old: str, truth: bool) -> str:
    """A truth value in the letters of another.

    >>> written_like("TRUE", False), written_like("False", True), written_like("false", True)
    ('FALSE', 'True', 'true')
    """
    text = str(truth)
    return text.upper() if old.isupper() else text.lower() if old.islower() else text
