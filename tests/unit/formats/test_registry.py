"""Formats of installed packages, and those that are refused."""

import sys

import pytest

from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError
from ray_audit.formats.registry import check_formats, format_of, formats
from ray_audit.training.inject import inject
from tests.support.contributing import indented, section
from tests.support.label_sets import all_labels
from tests.support.media import cut, dataset, noise, png

CODE = indented(section("Add a format"))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes packages that offer formats: name, entry points, and the code of its module."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def make(package, entries, code=CODE):
        info = tmp_path / f"site/{package}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[ray_audit.formats]\n{lines}")
        (tmp_path / f"site/{package}.py").write_text(code)
        formats.cache_clear()

    yield make
    formats.cache_clear()
    for name in ("hexes", "others"):
        sys.modules.pop(name, None)


def hex_set(folder):
    lines = [f"i{i} {'abc'[i % 3]} {png(noise(4, 5, i)).hex()}\n" for i in range(8)]
    (folder / "x.hex").write_text("".join(lines))
    return dataset("images", folder / "x.hex", {"column": "anything"})


def test_a_format_of_another_package_is_audited_and_corrected(tmp_path, install):
    install("hexes", {"hex": "hexes:HexLines"})
    config = hex_set(tmp_path)
    result = cut(config, tmp_path)
    assert result.labels == {f"x.hex#i{i}": i % 3 for i in range(8)}
    values = {
        "dataset": config.model_dump(exclude_unset=True),
        "model": {"factory": "a.b:c"},
        "checkpoints": "ck/*.pt",
        "output": "out",
    }
    done = inject(AuditConfig.model_validate(values), str(tmp_path / "to"), 0.5, seed=1)
    after = all_labels(AuditConfig.load(done.spec).dataset)
    assert after.keys() == result.labels.keys()
    assert sum(after[key] != result.labels[key] for key in after) == done.num_errors > 0


def test_a_label_table_names_samples_in_a_format_of_another_package(tmp_path, install):
    install("hexes", {"hex": "hexes:HexLines"})
    hex_set(tmp_path)
    (tmp_path / "t.csv").write_text("image,label\ni0,c\ni1,c\n")
    config = dataset("images", tmp_path / "x.hex", {"images": str(tmp_path / "t.csv")})
    result = cut(config, tmp_path)
    assert result.labels == {"x.hex#i0": 2, "x.hex#i1": 2}
    assert result.filtered == {f"x.hex#i{i}": "unlabelled" for i in range(2, 8)}


def test_without_the_package_its_files_are_refused():
    with pytest.raises(SpecificationError, match=r"x\.hex has a format that is not read"):
        check_formats(["x.hex"], "images")


REFUSED = {
    "cannot be loaded: ModuleNotFoundError": ({"hex": "nowhere:HexLines"}, CODE),
    "cannot be loaded: AttributeError": ({"hex": "hexes:Missing"}, CODE),
    "cannot be loaded: RuntimeError: broken": ({"hex": "hexes:x"}, "raise RuntimeError('broken')"),
    "is a dict; expected a ray_audit.formats.Format": ({"hex": "hexes:D"}, "D = {}"),
    "the format says no name and no kind and no extensions": (
        {"hex": "hexes:F"},
        "from ray_audit.formats import Format\nclass F(Format):\n    pass",
    ),
    "kind 'sound' is none of video, images, sequences": (
        {"hex": "hexes:F"},
        CODE.replace('"images"', '"sound"') + "\nF = HexLines",
    ),
    r"\.png is a format of ray_audit\.formats already": (
        {"hex": "hexes:HexLines"},
        CODE.replace('("hex",)', '("hex", "png")'),
    ),
    "tar is a format of ray_audit.formats already": (
        {"hex": "hexes:HexLines"},
        CODE.replace('"hex lines"', '"tar"'),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_wrong_entry_is_an_error_that_names_package_and_entry(install, message):
    entries, code = REFUSED[message]
    install("hexes", entries, code)
    ((name, value),) = entries.items()
    found = rf"package hexes 1\.2 \(entry point {name} = {value} of ray_audit\.formats\).*{message}"
    with pytest.raises(SpecificationError, match=found):
        format_of("a.png")


def test_two_packages_with_one_format_are_an_error_that_names_both(install):
    install("hexes", {"hex": "hexes:HexLines"})
    install("others", {"hex2": "others:HexLines"})
    with pytest.raises(SpecificationError, match=r"package others 1\.2.*package hexes 1\.2"):
        formats()


def test_our_own_formats_are_known_without_any_package():
    assert [format_.name for format_ in formats()] == [
        "video",
        "image files",
        "Parquet",
        "tar",
        "npz",
        "npy",
        "NIfTI",
        "MetaImage",
        "DICOM",
        "zip",
        "HDF5",
        "MATLAB",
        "Arrow",
        "IDX",
        "NRRD",
    ]
