"""Bytes as label tables and specifications: rows, or an error of ours, and nothing else.

python -m tests.fuzz.fuzz_labels -max_total_time=120
"""

import contextlib

from tests.fuzz.harness import atheris_or_exit, fuzz, scratch

atheris = atheris_or_exit()
with atheris.instrument_imports(include=["ray_audit.sources", "ray_audit.config"]):
    from ray_audit.config import AuditConfig, LabelColumns
    from ray_audit.errors import RayAuditError
    from ray_audit.formats.labels.classes import ClassNames
    from ray_audit.formats.labels.table_rows import layout_of, read_rows

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".yaml")
FOLDER = scratch()


def one_input(data):
    """The first byte chooses what the rest is taken for."""
    if not data:
        return
    suffix, form = SUFFIXES[data[0] % len(SUFFIXES)], ("frames", "segments")[data[0] // 128]
    path = FOLDER / f"labels{suffix}"
    path.write_bytes(data[1:])
    with contextlib.suppress(RayAuditError):
        if suffix == ".yaml":
            AuditConfig.load(path)
            return
        layout = layout_of(str(path), form, LabelColumns(), with_name=True)
        for rows in read_rows(str(path), layout, ClassNames(["a", "b"], [255])):
            assert len(rows.labels) == len(rows.name_codes)


SEEDS = (
    b"\x00video,frame,label\nv.mp4,0,a\nv.mp4,1,b\n",
    b"\x84video,start_frame,end_frame,label\nv.mp4,0,5,a\n",
    b"\x01video\tframe\tlabel\nv\t0\t1\n",
    b'\x02[{"video": "v", "frame": 0, "label": "a"}]',
    b'\x03{"video": "v", "frame": 0, "label": 1}\n{"video": "v", "frame": 1, "label": null}\n',
    b"\x05dataset: {kind: video, uri: a, labels: {frames: b}, classes: [a]}\n"
    b"model: {factory: a:b}\ncheckpoints: c\noutput: d\n",
)

if __name__ == "__main__":
    fuzz(atheris, one_input, SEEDS)
