import json

import pytest

from ray_audit.formats.labels import json_rows
from ray_audit.formats.labels.copying import copy_table


def copied(tmp_path, name, content, columns, edit):
    (tmp_path / name).write_bytes(content)
    copy_table(str(tmp_path / name), str(tmp_path / "to" / name), columns, edit)
    return (tmp_path / "to" / name).read_bytes()


HOSTILE = (
    b'\xef\xbb\xbf"vi""deo",label,note\r\n'
    b"v 1 , a ,=cmd|' /C calc'!A0\r\n"
    b"\r\n"
    b'"v,2","a","two\nlines ""quoted"""\n'
    b"\xff\xfe,b,+1"
)


def test_csv_keeps_every_byte_but_the_new_cells(tmp_path):
    columns = {"name": 'vi"deo', "label": "label"}
    seen = []

    def edit(cells):
        seen.append(cells)
        return [{"label": "x,y"}] if cells["label"].strip() == "a" else None

    assert copied(tmp_path, "t.csv", HOSTILE, columns, lambda cells: None) == HOSTILE
    changed = copied(tmp_path, "t.csv", HOSTILE, columns, edit)
    assert changed == HOSTILE.replace(b", a ,", b',"x,y",').replace(b'"a"', b'"x,y"')
    assert [cells["label"] for cells in seen] == [" a ", "a", "b"]
    assert [cells["name"] for cells in seen[:2]] == ["v 1 ", "v,2"]


def test_a_last_line_without_an_end_can_become_two(tmp_path):
    columns = {"a": "a"}
    new = copied(tmp_path, "t.tsv", b"a\tb\n1\t2", columns, lambda cells: [{}, {"a": 5}])
    assert new == b"a\tb\n1\t2\n5\t2\n"


ARRAY = (
    b'\n[ {"a" : 1.50, "k": {"a": [7]}, "t": "\\u00e9\xc3\xa9"},\n  {"t":"","a":2} ,{"a":"3"}]\n'
)


@pytest.mark.parametrize("num_chars", [1, 7, 2**20])
def test_json_keeps_every_byte_but_the_new_values(tmp_path, monkeypatch, num_chars):
    monkeypatch.setattr(json_rows, "_READ_CHARS", num_chars)
    columns = {"a": "a"}
    assert copied(tmp_path, "t.json", ARRAY, columns, lambda cells: None) == ARRAY
    new = copied(tmp_path, "t.json", ARRAY, columns, lambda cells: [{"a": "9"}])
    expected = ARRAY.replace(b"1.50", b"9").replace(b'"a":2', b'"a":9').replace(b'"3"', b'"9"')
    assert new == expected


@pytest.mark.parametrize("gone", [{1}, {2}, {3}, {1, 2}, {1, 2, 3}])
@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_json_rows_can_go_and_come(tmp_path, gone, name):
    values = [{"a": 1}, {"a": 2}, {"a": 3}]
    content = json.dumps(values) if name == "t.json" else "\n".join(map(json.dumps, values)) + "\n"

    def edit(cells):
        return [] if cells["a"] in gone else [{}, {"a": 10 * cells["a"]}]

    new = copied(tmp_path, name, content.encode(), {"a": "a"}, edit).decode()
    read = json.loads(new) if name == "t.json" else [json.loads(r) for r in new.split("\n") if r]
    expected = [n for v in values if v["a"] not in gone for n in (v["a"], 10 * v["a"])]
    assert [row["a"] for row in read] == expected


def test_nothing_is_left_where_writing_fails(tmp_path):
    def edit(cells):
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        copied(tmp_path, "t.csv", b"a\n1\n", {"a": "a"}, edit)
    assert list((tmp_path / "to").iterdir()) == []
