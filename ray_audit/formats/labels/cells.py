"""Label and key values as they are stored inside containers."""


def text_of(value: object) -> object:
    """Bytes as the text that they are; everything else as it is.

    >>> text_of(b"n0"), text_of("n0"), text_of(3)
    ('n0', 'n0', 3)
    """
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def label_of(value: object) -> object:
    """A stored label as it is parsed: bytes are text, blanks around text and NaN mean nothing.

    >>> label_of(b" k0"), label_of(float("nan")), label_of(2)
    ('k0', None, 2)
    """
    value = text_of(value)
    if isinstance(value, float) and value != value:
        return None
    return value.strip() if isinstance(value, str) else value
