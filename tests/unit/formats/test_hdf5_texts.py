"""Text of variable length in HDF5 files is read by a child, which can be ended."""

import io
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from ray_audit.errors import SampleError
from ray_audit.formats import hdf5_texts
from ray_audit.formats.hdf5 import HdfArrays
from ray_audit.formats.hdf5_texts import HdfTexts

NAMES = ["cut", "Schnitt é", ""] * 300


def stored():
    sink = io.BytesIO()
    with h5py.File(sink, "w") as file:
        file["labels"] = NAMES
        file["labels"].attrs["class_names"] = ["cut", "Schnitt é"]
        file["other"] = np.arange(3)
        file["other"].attrs["classes"] = np.array([b"x", b"y"])
    return sink.getvalue()


def test_text_is_read_whole_and_in_parts_and_from_attributes():
    content = stored()
    file = HdfArrays(io.BytesIO(content), len(content))
    assert file.array("labels").tolist() == NAMES
    assert file.rows("labels", 299, 302).tolist() == NAMES[299:302]
    assert file.class_names("labels") == ["cut", "Schnitt é"]
    assert file.class_names("other") == ["x", "y"]
    file.close()


class Ending(io.BytesIO):
    """A file during whose reading the child is ended, as the system does at its limit."""

    texts = None

    def read(self, *num):
        self.texts._child.send_signal(signal.SIGXCPU)
        return super().read(*num)


def test_a_file_whose_text_is_not_read_in_time_is_one_failure_and_the_next_is_read():
    content = stored()
    stream = Ending(content)
    texts = stream.texts = HdfTexts(stream, len(content), limit_s=7)
    with pytest.raises(SampleError, match=r"labels: .* within 7 s .*save text of fixed length"):
        list(texts.of_array("labels", 0, 3))
    texts.close()
    other = HdfTexts(io.BytesIO(content), len(content))
    assert [text for some in other.of_array("labels", 0, 3) for text in some] == NAMES[:3]
    other.close()


def test_a_child_is_kept_for_the_next_file_and_knows_nothing_of_the_last():
    content = stored()
    first = HdfTexts(io.BytesIO(content), len(content))
    assert first.of_attribute("/labels", "class_names") == ["cut", "Schnitt é"]
    child = first._child
    first.close()
    sink = io.BytesIO()
    with h5py.File(sink, "w") as file:
        file["labels"] = ["another"]
    second = HdfTexts(sink, len(sink.getvalue()))
    assert list(second.of_array("labels", 0, 1)) == [["another"]]
    assert second._child is child
    with pytest.raises(SampleError, match=r"text of nothing: KeyError"):
        list(second.of_array("nothing", 0, 1))
    second.close()


def test_the_system_ends_a_child_that_takes_too_long():
    program = "import runpy, sys; runpy.run_path(sys.argv[1])['_allow'](1)\nwhile True: pass"
    child = [sys.executable, "-c", program, str(hdf5_texts._CHILD)]
    assert subprocess.run(child, timeout=120).returncode == -signal.SIGXCPU
