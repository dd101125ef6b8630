import pytest

from ray_audit.config import AuditConfig
from ray_audit.errors import SpecificationError
from ray_audit.sources.destinations import check_destination, check_files


def config(uri="/d/*.png", labels=None, checkpoints="/c/*.safetensors"):
    return AuditConfig.parse(
        {
            "dataset": {
                "kind": "images",
                "uri": uri,
                "labels": labels or {"images": "/d/labels.csv"},
                "classes": ["a", "b"],
            },
            "model": {"factory": "m:f"},
            "checkpoints": checkpoints,
            "output": "/o",
        }
    )


@pytest.mark.parametrize(
    ("given", "destination", "named"),
    [
        ({"uri": "/d/fold/**/*.png"}, "/d/fold/corrected", "dataset.uri"),
        ({"uri": "/d/**/*.png"}, "/d/a/b/c", "dataset.uri"),
        ({"uri": "/d/**/*.png"}, "/d", "dataset.uri"),
        ({"uri": "/d/*/*.png"}, "/d/corrected", "dataset.uri"),
        ({"uri": "s3://b/d/*/*.png"}, "s3://b/d/corrected", "dataset.uri"),
        ({"uri": ["/x/1.png", "/d/**/*.png"]}, "/d/new", "dataset.uri"),
        ({"uri": "/d/fold/*.png"}, "/d/other/../fold", "dataset.uri"),
        ({"labels": {"masks": "/m/{stem}.png"}}, "/m/corrected", "dataset.labels.masks"),
        ({"labels": {"masks": "/m/{path}.png"}}, "/m", "dataset.labels.masks"),
        ({"checkpoints": "/c/**/*.pt"}, "/c/new", "checkpoints"),
        ({"checkpoints": ["/c/a.pt", "/c/*/e*.pt"]}, "/c/new", "checkpoints"),
    ],
)
def test_a_folder_that_a_pattern_looks_into_is_refused(given, destination, named):
    with pytest.raises(SpecificationError, match=rf"--to: .* lies where {named} \("):
        check_destination(config(**given), destination, "--to")


def test_links_to_folders_that_a_pattern_looks_into_are_followed(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for uri, folder in (("data/**/*.png", "link/new"), ("link/**/*.png", "data/new")):
        with pytest.raises(SpecificationError, match=r"--to: .* lies where dataset.uri"):
            check_destination(config(f"{tmp_path}/{uri}"), f"{tmp_path}/{folder}", "--to")
    check_destination(config(f"{tmp_path}/link/**/*.png"), f"{tmp_path}/other", "--to")


@pytest.mark.parametrize(
    ("given", "destination"),
    [
        ({"uri": "/d/*.png"}, "/d/corrected"),
        ({"uri": "/d/fold/**/*.png"}, "/d/corrected"),
        ({"uri": "/d/**/*.png"}, "/data/corrected"),
        ({"uri": "/d/img_*/*.png"}, "/d/corrected"),
        ({"uri": "s3://b/d/**/*.png"}, "s3://other/d/new"),
        ({"uri": "s3://b/d/**/*.png"}, "/b/d/new"),
        ({"uri": "/d/corrected/1.png"}, "/d/corrected"),
        ({"labels": {"images": "/d/new/labels.csv"}}, "/d/new"),
    ],
)
def test_a_folder_beside_the_patterns_is_taken(given, destination):
    check_destination(config(**given), destination, "--to")


@pytest.mark.parametrize(
    ("uri", "output", "is_refused"),
    [
        ("/pq/**/*.parquet", "/pq/audit", True),
        ("/pq/*/*/*.parquet", "/pq/audit", True),
        ("/pq/*.parquet", "/pq", False),  # a run writes nothing directly below its output
        ("/pq/*/*.parquet", "/pq/audit", False),
        ("/d/**/*", "/d/audit", True),
        ("/d/**/*.mp4", "/d/audit", False),  # nor any video
    ],
)
def test_an_output_is_refused_where_a_run_would_be_read_as_data(uri, output, is_refused):
    if not is_refused:
        check_destination(config(uri=uri), output, "output", use="output")
        return
    with pytest.raises(SpecificationError, match=r"output: .* dataset\.uri"):
        check_destination(config(uri=uri), output, "output", use="output")


def test_runs_may_lie_beside_labels_that_are_found_by_the_name_of_a_file():
    siblings = config(uri="/d/images/*.png", labels={"masks": "/d/{name}.png"})
    check_destination(siblings, "/d/out.png", "output", "output")


@pytest.mark.parametrize(
    ("given", "file", "named"),
    [
        ({}, "/d/i0.png", "dataset.uri"),
        ({}, "/d/labels.csv", "dataset.labels.images"),
        ({"uri": "/d/**/*"}, "/d/report/index.html", "dataset.uri"),
        ({"uri": "s3://b/**/*"}, "s3://b/report.html", "dataset.uri"),
        ({"labels": {"masks": "/m/{stem}.png"}}, "/m/report.png", "dataset.labels.masks"),
        ({}, "/c/last.safetensors", "checkpoints"),
        ({}, "/c/../d/./i0.png", "dataset.uri"),
    ],
)
def test_a_report_never_replaces_data_labels_or_checkpoints(given, file, named):
    with pytest.raises(SpecificationError, match=rf"--to: .* among the files of {named} \("):
        check_files(config(**given), ["/free", file], "--to")


@pytest.mark.parametrize(
    "file", ["/d/report.html", "/d/sub/i0.png", "/m/x.png", "s3://d/i0.png", "/c/report.html"]
)
def test_a_report_may_lie_beside_the_data(file):
    check_files(config(), [file], "--to")
