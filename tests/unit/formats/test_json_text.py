import json

import pytest

from ray_audit.json_text import unrepeated


def test_a_key_that_is_there_twice_is_named():
    text = '{"a": {"b": 1, "c": 2}, "c": [{"b": 1}, {"b": 2}]}'
    assert json.loads(text, object_pairs_hook=unrepeated) == json.loads(text)
    with pytest.raises(ValueError, match="the key 'b' is twice in one object"):
        json.loads('{"a": {"b": 1, "c": 3, "b": 2}}', object_pairs_hook=unrepeated)
