"""Colours of classes: those of the report's page."""

import colorsys

OKABE_ITO = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7"),
    *("#56b4e9", "#d55e00", "#f0e442", "#8c6bb1"),
)
"""Told apart by most colour-blind people (Okabe and Ito 2008); the last is ours."""
NO_CLASS = "#9aa0a6"
_GOLDEN_ANGLE = 137.508
_SATURATION = 0.55


def class_colour(index: int) -> str:
    """Colour of a class index as `#rrggbb`; grey for none (-1).

    Beyond eight classes: further hues at two lightnesses.
    """
    if index < 0:
        return NO_CLASS
    if index < len(OKABE_ITO):
        return OKABE_ITO[index]
    hue = index * _GOLDEN_ANGLE % 360 / 360
    rgb = colorsys.hls_to_rgb(hue, 0.42 if index % 2 else 0.62, _SATURATION)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)


def class_rgb(index: int) -> tuple[int, int, int]:
    """The same, 0-255 a channel."""
    text = class_colour(index)
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
