"""Datasets laid out as their publishers do."""

from ray_audit.config import DatasetConfig


def specified(folder, kind, uri, labels, classes, **more):
    at = {key: str(folder / value) if key in PLACES else value for key, value in labels.items()}
    split = {"split": str(folder / more.pop("split"))} if "split" in more else {}
    return DatasetConfig.model_validate(
        {"kind": kind, "uri": str(folder / uri), "labels": at, "classes": classes}
        | {**more, **split}
    )


PLACES = ("masks", "frames", "segments", "videos", "images")


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def touched(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")  # listing does not open it


def mstcn(folder):
    expected = {}
    for index, name in enumerate(["rgb-01-1", "rgb-01-2", "rgb-02-1"]):
        touched(folder / f"features/{name}.npy")
        names = ["cut_tomato", "mix", "serve it"]
        at = [(t + index) // 4 % 3 for t in range(11)]
        written(folder / f"groundTruth/{name}.txt", "\n".join([*(names[i] for i in at), ""]))
        expected[f"{name}.npy"] = at
    written(folder / "splits/train.split1.bundle", "rgb-01-1.txt\nrgb-02-1.txt\n")
    written(folder / "mapping.txt", "0 cut_tomato\n1 mix\n2 serve it\n")
    labels = {"frames": "groundTruth/{stem}.txt", "header": ["label"]}
    return (folder, "sequences", "features/*.npy", labels), expected
