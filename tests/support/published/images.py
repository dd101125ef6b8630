"""Images with one label each."""

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import savemat

from tests.support.media import write_tar
from tests.support.published.built import Built, photo, put_image, put_text

ROWS = [("a.png", "cat"), ("b.png", "dog"), ("c.png", "cat")]
CLASSES = ["cat", "dog"]


def imagefolder(root):
    expected = {}
    for part in ("train", "test"):
        for name in CLASSES:
            for index in range(3):
                photo(root / f"{part}/{name}/{index}.png", index)
                if part == "train":
                    expected[f"{name}/{index}.png"] = name
    return Built("class-folders", expected, {"classes": CLASSES})


def imagefolder_metadata(root):
    lines = [json.dumps({"file_name": key, "label": label}) for key, label in ROWS]
    for index, (key, _) in enumerate(ROWS):
        photo(root / f"train/{key}", index)
    put_text(root / "train/metadata.jsonl", *lines)
    return Built("imagefolder-metadata", dict(ROWS), {"classes": CLASSES})


def imagenet(root):
    expected = {}
    for wnid in ("n01440764", "n01443537", "n02102040"):
        for index in range(2):
            name = f"{wnid}/{wnid}_{index}.JPEG"
            path = root / "train" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(index).integers(0, 256, (6, 7, 3), np.uint8)
            # Some of them are grey, and some of the files are PNG inside.
            image = Image.fromarray(pixels[..., 0] if index else pixels)
            image.save(path, "PNG" if wnid.endswith("0") else "JPEG")
            expected[name] = wnid
    return Built("imagenet", expected, {"classes": ["n01440764", "n01443537", "n02102040"]})


def _png(seed):
    sink = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), np.uint8)
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def hugging_face_parquet(root):
    names, expected = ["dog", "cat", "bird"], {}
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": names},
    }
    for part in range(2):
        key = f"train-0000{part}-of-00002.parquet"
        labels = [(i + part) % 3 for i in range(4)]
        images = [{"bytes": _png(i), "path": f"{i}.png"} for i in range(4)]
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = pa.table({"image": images, "label": pa.array(labels, pa.int64())})
        (root / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), root / f"data/{key}")
        expected |= {f"{key}#{i}": label for i, label in enumerate(labels)}
    return Built("hugging-face-parquet", expected, {"classes": names})


def webdataset(root):
    expected = {}
    root.mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        key = f"shard-00000{shard}.tar"
        members = []
        for i in range(3):
            members += [(f"x{i}.png", _png(i)), (f"x{i}.cls", str((i + shard) % 2).encode())]
            expected[f"{key}#x{i}"] = (i + shard) % 2
        write_tar(root / key, members)
    return Built("webdataset", expected, {"classes": ["no", "yes"]})


def _table(root, name, *lines, folder="images", dataset=None, packed=False):
    for index, (key, _) in enumerate(ROWS):
        photo(root / folder / key, index)
    put_text(root / name, *lines)
    if packed:
        content = (root / name).read_bytes()
        (root / name).unlink()
        (root / f"{name}.gz").write_bytes(gzip.compress(content))
        name = f"{name}.gz"
    section = {
        "kind": "images",
        "uri": f"{{root}}/{folder}/*.png",
        "labels": {"images": f"{{root}}/{name}", **(dataset or {})},
        "classes": CLASSES,
    }
    return Built(None, dict(ROWS), dataset=section)


def semicolons(root):
    return _table(root, "labels.csv", "image;label", *(";".join(row) for row in ROWS))


def tabs(root):
    return _table(root, "labels.tsv", "image\tlabel", *("\t".join(row) for row in ROWS))


def without_header(root):
    lines = [",".join(row) for row in ROWS]
    return _table(root, "labels.csv", *lines, dataset={"header": ["image", "label"]})


def packed(root):
    return _table(root, "labels.csv", "image,label", *(",".join(r) for r in ROWS), packed=True)


def comments(root):
    lines = ["# made by hand", "image,label", *(",".join(row) for row in ROWS)]
    return _table(root, "labels.csv", *lines, dataset={"comment": "#"})


def paths_and_numbers(root):
    lines = [f"images/{key} {CLASSES.index(label)}" for key, label in ROWS]
    built = _table(root, "list.txt", *lines, dataset={"header": ["image", "label"]})
    built.dataset["uri"] = "{root}/*/*.png"
    built.expected = {f"images/{key}": CLASSES.index(label) for key, label in ROWS}
    built.init = False  # it chooses keys below `images/`
    return built


def paths_from_further_up(root):
    """Rows name files by their paths below the dataset's folder, and keys begin further down."""
    lines = [f"images/{key} {CLASSES.index(label)}" for key, label in ROWS]
    return _mapped(_table(root, "list.txt", *lines, dataset={"header": ["image", "label"]}))


def mxnet_lst(root):
    lines = [f"{i}\t{CLASSES.index(label)}.000000\t{key}" for i, (key, label) in enumerate(ROWS)]
    return _mapped(_table(root, "t.lst", *lines, dataset={"header": ["index", "label", "image"]}))


def _mapped(built):
    built.expected = {key: CLASSES.index(label) for key, label in ROWS}
    return built


def names_and_labels(root):
    return _table(root, "labels.json", json.dumps(dict(ROWS)))


def stems_and_yes_or_no(root):
    lines = ["isic_id,malignant,age", "a,yes,30", "b,no,41", "c,yes,55"]
    columns = {"columns": {"image": "isic_id", "label": "malignant"}}
    built = _table(root, "metadata.csv", *lines, dataset=columns)
    built.dataset["classes"] = ["no", "yes"]
    built.expected = {"a.png": "yes", "b.png": "no", "c.png": "yes"}
    return built


def grey_among_colour(root):
    built = imagefolder(root)
    put_image(root / "train/cat/0.png", np.zeros((6, 7), np.uint8))
    return built


def coco_image_classes(root):
    names, rows = {18: "dog", 17: "cat"}, [(9, 17), (25, 18), (30, 17)]
    for number, _ in rows:
        photo(root / f"train2017/{number:012d}.jpg", number)
    document = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg"} for n, _ in rows],
        "annotations": [
            {"id": i, "image_id": n, "category_id": c} for i, (n, c) in enumerate(rows)
        ],
        "categories": [{"id": c, "name": name} for c, name in names.items()],
    }
    put_text(root / "annotations/instances_train2017.json", json.dumps(document))
    expected = {f"{n:012d}.jpg": names[c] for n, c in rows}
    return Built("coco-image-classes", expected, {"classes": CLASSES})


def class_folders_in_an_archive(root):
    root.mkdir(parents=True, exist_ok=True)
    expected = {}
    with zipfile.ZipFile(root / "train.zip", "w") as archive:
        for label in CLASSES:
            for index in range(2):
                archive.writestr(f"train/{label}/{index}.png", _png(index))
                expected[f"{label}/{index}.png"] = label
    dataset = {
        "kind": "images",
        "uri": "{root}/train.zip",
        "labels": {"folder": True},
        "classes": CLASSES,
    }
    return Built(None, expected, dataset=dataset)


def shards_by_their_numbers(root):
    built = webdataset(root)
    dataset = {
        "kind": "images",
        "uri": "{root}/shard-{000000..000001}.tar",
        "labels": {"column": "cls"},
        "classes": ["no", "yes"],
    }
    return Built(None, built.expected, dataset=dataset, init=False)


def labels_deep_in_a_document(root):
    document = {key.split(".")[0]: {"label": label, "age": 3} for key, label in ROWS}
    built = _table(root, "labels.json", json.dumps(document), dataset={"rows": "{image}"})
    built.init = False
    return built


def medmnist(root):
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    labels = np.array([[0], [2], [1], [1]], np.uint8)
    arrays = {
        "train_images": rng.integers(0, 256, (4, 28, 28, 3), np.uint8),
        "train_labels": labels,
        "val_images": rng.integers(0, 256, (2, 28, 28, 3), np.uint8),
        "val_labels": labels[:2],
    }
    np.savez_compressed(root / "bloodmnist.npz", **arrays)
    expected = {f"bloodmnist.npz#{i}": k for i, k in enumerate(labels[:, 0].tolist())}
    return Built("medmnist", expected, {"classes": list("abc")})


def svhn(root):
    root.mkdir(parents=True, exist_ok=True)
    labels = np.array([[1], [10], [9], [2], [10]], np.uint8)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 5), np.uint8)
    for part in ("train", "test"):
        savemat(root / f"{part}_32x32.mat", {"X": pixels, "y": labels}, do_compression=True)
    expected = {f"train_32x32.mat#{i}": str(k % 10) for i, k in enumerate(labels[:, 0].tolist())}
    return Built("svhn", expected)


def _idx(*shape, rng):
    values = rng.integers(0, 256, shape, np.uint8)
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + values.tobytes()


def mnist(root, ending=".gz"):
    rng, expected = np.random.default_rng(0), {}
    root.mkdir(parents=True, exist_ok=True)
    for part, num in (("train", 70), ("t10k", 3)):
        labels = rng.integers(0, 10, num, np.uint8)
        files = {
            f"{part}-images-idx3-ubyte{ending}": _idx(num, 8, 9, rng=rng),
            f"{part}-labels-idx1-ubyte{ending}": struct.pack(">4BI", 0, 0, 8, 1, num)
            + labels.tobytes(),
        }
        for name, content in files.items():
            (root / name).write_bytes(gzip.compress(content) if ending else content)
        if part == "train":
            key = f"train-images-idx3-ubyte{ending}"
            expected = {f"{key}#{at}": label for at, label in enumerate(labels.tolist())}
    return Built("mnist", expected)


def mnist_unpacked(root):
    built = mnist(root, "")
    dataset = {
        "kind": "images",
        "uri": "{root}/train-images-idx3-ubyte",
        "labels": {"images": "{root}/train-labels-idx1-ubyte"},
        "classes": [str(digit) for digit in range(10)],
    }
    return Built(None, built.expected, dataset=dataset, init=False)


def imagenet_val(root):
    expected, numbers = {}, [490, 361, 171]
    for at, number in enumerate(numbers, 1):
        photo(root / f"val/ILSVRC2012_val_{at:08d}.JPEG", at)
        expected[f"ILSVRC2012_val_{at:08d}.JPEG"] = number - 1
    put_text(root / "ILSVRC2012_validation_ground_truth.txt", *map(str, numbers))
    classes = [f"class {number}" for number in range(1, 501)]
    return Built("imagenet-val", expected, {"classes": classes}, init=False)


def _diagnoses(root, layout, prefix, names):
    lines, expected = [f"image,{','.join(names)}"], {}
    for at, place in enumerate([1, 0, 4, 1]):
        key = f"ISIC_{24306 + at:07d}"
        photo(root / f"{prefix}_Training_Input/{key}.jpg", at)
        lines.append(",".join([key, *("1.0" if i == place else "0.0" for i in range(len(names)))]))
        expected[f"{key}.jpg"] = names[place]
    put_text(root / f"{prefix}_Training_GroundTruth.csv", *lines)
    return Built(layout, expected)


def isic_2019(root):
    names = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    return _diagnoses(root, "isic2019", "ISIC_2019", names)


def isic_2018_diagnoses(root):
    names = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    return _diagnoses(root, "isic2018-task3", "ISIC2018_Task3", names)


def paths_from_a_root(root):
    """As Places365 is published: lists name files from a root of their own."""
    lines = [f"/images/{key} {CLASSES.index(label)}" for key, label in ROWS]
    return _mapped(_table(root, "list.txt", *lines, dataset={"header": ["image", "label"]}))
