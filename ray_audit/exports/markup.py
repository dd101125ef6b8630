"""Elements to XML that any parser reads, whatever the names of files and classes hold."""

import re
from xml.etree import ElementTree

# XML 1.0 has no way to write these.
_NO_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def as_xml(root: ElementTree.Element, declaration: bool = True) -> bytes:
    """UTF-8, indented; characters that XML cannot hold become U+FFFD."""
    for element in root.iter():
        element.text = None if element.text is None else _clean(element.text)
        for name, value in element.attrib.items():
            element.set(name, _clean(value))
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=declaration)
    return written


def _clean(text: str) -> str:
    return _NO_CHARACTER.sub("\ufffd", text)
