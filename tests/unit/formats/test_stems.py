"""Which part of a name is an extension."""

from ray_audit.formats.labels.names import EXTENSIONS
from ray_audit.formats.registry import formats


def test_the_ending_of_each_format_is_known_where_a_name_may_have_one():
    endings = {
        ending.rsplit(".", 1)[1] for item in formats() for ending in item.endings if "." in ending
    }
    assert endings <= EXTENSIONS
