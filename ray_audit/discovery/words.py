"""What people call masks, labels and images: one place for each kind of word.

Patterns are searched for in a name, but for those that say that they are the whole of one.
"""

import re

_ALONE = r"(?<![a-z])(gt|seg|cls)s?(?![a-z])|(?-i:Seg(?![a-z]))"
_MASK = rf"mask|label|annot|gtfine|segm|truth|target|matte|lesion|lumen|{_ALONE}"

MASK = re.compile(_MASK, re.IGNORECASE)
"""A mask, by the name of its file, folder or array."""

MASK_ARRAY = re.compile(rf"{_MASK}|class|type", re.IGNORECASE)
"""A mask among arrays of which only one can be: `type_map` beside `inst_map`."""

NO_CLASS = re.compile(
    r"(ground)?(masks?|labels?|annotat\w*|gt|truth|seg\w*|edges?|bound\w*|contours?|colou?rs?|"
    r"instances?|manual|observer|rater|reader|expert|fov|roi)\d*|\d+(st|nd|rd|th)?",
    re.IGNORECASE,
)
"""The whole of a word in a mask's name that says what it is, or who drew it, and names no class."""

LABEL_ARRAY = re.compile(r"label|class|target|(^|/)y(_[^/]*)?$", re.IGNORECASE)
"""An array of labels, one for each image."""

LABEL_FILE = re.compile(
    r"label|annot|truth|(^|[^a-z])gt([^a-z]|$)|class|segm|phase|action|train|meta|list",
    re.IGNORECASE,
)
"""A table or document of labels."""

NO_CLASS_FOLDER = re.compile(
    r"(jpeg|original_?|raw_?|rgb_?)?(images?|imgs?|pictures?|frames?)|(ground_?)?truths?|gt|"
    r"(.*[_-])?(masks?|annotations?|labels?|segmentations?)|(train|valid|test)(ing|ation)?|val",
    re.IGNORECASE,
)
"""The whole name of a folder of images, of masks, or of a part of a dataset: none is a class."""

MASK_MEMBERS = ("seg.png", "mask.png", "label.png", "segmentation.png")
"""Endings of the members of an archive that are masks."""

CLASS_MEMBERS = ("cls", "class", "label", "txt", "index", "target")
"""Endings of the members of an archive that are labels."""
