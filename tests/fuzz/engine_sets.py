"""Random small datasets for the engine, what may change of them in a night, and their scores."""

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from ray_audit.config import AuditConfig

CLASSES = ("a", "b", "c")
VOID = 255


class RandomSet:
    """A dataset, its checkpoints and a specification, all drawn from a seed.

    `samples()` is what an audit of it must give, computed plainly in float64.
    """

    kind = ""

    def __init__(self, folder, rng):
        self.folder, self.rng = folder, rng
        self.num_made = 0
        (folder / "data").mkdir(parents=True)
        (folder / "checkpoints").mkdir()
        self.scales = {}
        for _ in range(int(rng.integers(1, 4))):
            self.add_checkpoint()
        self.values = {
            "dataset": {
                "kind": self.kind,
                "classes": list(CLASSES),
                "void": [VOID],
                **self.dataset(),
            },
            "model": {"factory": "tests.fuzz.reader:Reader", "kwargs": self.model_kwargs()},
            "checkpoints": str(folder / "checkpoints/*.safetensors"),
            "output": str(folder / "out"),
            "scores": ["csl", "vog"] if rng.random() < 0.3 else ["csl"],
            "vog": {"window": str(rng.choice(["all", "early", "late"]))},
            "engine": {"batch_size": int(rng.integers(1, 6)) if rng.random() < 0.7 else "auto"},
            "failures": {"max_fraction": 1.0},
        }
        for _ in range(int(rng.integers(1, 5))):
            self.add_shard()

    def config(self, **changes):
        return AuditConfig.parse(self.values | changes)

    def dataset(self):
        raise AssertionError("of a kind")

    def model_kwargs(self):
        return {}

    def add_checkpoint(self):
        number = 1 + max(self.scales, default=-1)
        self.scales[number] = float(self.rng.uniform(0.3, 3.0))
        path = self.folder / f"checkpoints/epoch_{number}.safetensors"
        save_file({"scale": torch.tensor(self.scales[number])}, str(path))

    def remove_checkpoint(self):
        if len(self.scales) > 1:
            number = int(self.rng.choice(sorted(self.scales)))
            del self.scales[number]
            (self.folder / f"checkpoints/epoch_{number}.safetensors").unlink()

    def drawn_labels(self, num):
        labels = self.rng.integers(0, len(CLASSES), num)
        labels[self.rng.random(num) < 0.1] = VOID
        return labels

    def changes(self):
        """What may change in a night."""
        return [
            self.add_checkpoint,
            self.remove_checkpoint,
            self.add_shard,
            self.remove_shard,
            self.replace_shard,
            self.relabel,
            self.set_batch_size,
            lambda: None,
        ]

    def set_batch_size(self):
        self.values["engine"] = {"batch_size": int(self.rng.integers(1, 6))}


class Sequences(RandomSet):
    """Files of one sequence each, with one table of labels."""

    kind = "sequences"

    def __init__(self, folder, rng):
        self.features, self.labels = {}, {}
        super().__init__(folder, rng)

    def dataset(self):
        clip = {"frames": None}
        if self.rng.random() < 0.6:
            frames = int(self.rng.integers(2, 7))
            clip = {"frames": frames, "stride": int(self.rng.integers(1, frames + 1))}
        if self.rng.random() < 0.3:
            clip["every"] = int(self.rng.integers(2, 4))
        self.clip = clip
        return {
            "uri": str(self.folder / "data/*.npy"),
            "labels": {"frames": str(self.folder / "labels.csv")},
            "clip": clip,
        }

    def add_shard(self):
        name = f"s{self.num_made}.npy"
        self.num_made += 1
        num = int(self.rng.integers(3, 25))
        self.labels[name] = self.drawn_labels(num)
        self.write(name, num)

    def write(self, name, num):
        features = self.rng.normal(0, 2, (num, len(CLASSES))).astype(np.float32)
        features[self.rng.random(num) < 0.03] = np.nan
        self.features[name] = features
        np.save(self.folder / "data" / name, features)
        self.write_labels()

    def write_labels(self):
        rows = [
            f"{name},{t},{label}"
            for name, labels in self.labels.items()
            for t, label in enumerate(labels)
        ]
        (self.folder / "labels.csv").write_text("\n".join(["video,frame,label", *rows]) + "\n")

    def remove_shard(self):
        if len(self.labels) > 1:
            name = str(self.rng.choice(sorted(self.labels)))
            del self.labels[name], self.features[name]
            (self.folder / "data" / name).unlink()
            self.write_labels()

    def replace_shard(self):
        name = str(self.rng.choice(sorted(self.labels)))
        self.write(name, len(self.labels[name]))

    def relabel(self):
        name = str(self.rng.choice(sorted(self.labels)))
        self.labels[name] = self.drawn_labels(len(self.labels[name]))
        self.write_labels()

    def samples(self):
        """sample_id -> (label, logits (K,)), `void`, `not_sampled`."""
        every = self.clip.get("every", 1)
        for name, labels in self.labels.items():
            for t, label in enumerate(labels):
                if t % every:
                    yield f"{name}#{t}", "not_sampled"
                elif label == VOID:
                    yield f"{name}#{t}", "void"
                else:
                    yield f"{name}#{t}", (int(label), self.features[name][t].astype(np.float64))


class Images(RandomSet):
    """Image files with one table of labels; mean colours are the logits."""

    kind = "images"

    def __init__(self, folder, rng):
        self.pixels, self.labels = {}, {}
        super().__init__(folder, rng)

    def dataset(self):
        return {
            "uri": str(self.folder / "data/*.png"),
            "labels": {"images": str(self.folder / "labels.csv")},
        }

    def model_kwargs(self):
        return {"pool": True}

    def add_shard(self):
        for _ in range(int(self.rng.integers(1, 12))):
            name = f"i{self.num_made:03d}.png"
            self.num_made += 1
            self.labels[name] = self.drawn_labels(1)[0]
            self.write(name)

    def write(self, name):
        size = (4, 4) if self.rng.random() < 0.8 else (6, 5)
        self.pixels[name] = self.rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(self.pixels[name]).save(self.folder / "data" / name)
        self.write_labels()

    def write_labels(self):
        rows = [f"{name},{label}" for name, label in self.labels.items()]
        (self.folder / "labels.csv").write_text("\n".join(["image,label", *rows]) + "\n")

    def remove_shard(self):
        if len(self.labels) > 1:
            name = str(self.rng.choice(sorted(self.labels)))
            del self.labels[name], self.pixels[name]
            (self.folder / "data" / name).unlink()
            self.write_labels()

    def replace_shard(self):
        self.write(str(self.rng.choice(sorted(self.labels))))

    def relabel(self):
        self.labels[str(self.rng.choice(sorted(self.labels)))] = self.drawn_labels(1)[0]
        self.write_labels()

    def samples(self):
        """As those of sequences."""
        for name, label in self.labels.items():
            if label == VOID:
                yield name, "void"
            else:
                yield name, (int(label), self.pixels[name].mean((0, 1)) / 255)


KINDS = (Sequences, Images)


def expected_scores(dataset):
    """(filtered by reason, failed ids, scores by id), from the data alone."""
    scales = np.array([dataset.scales[number] for number in sorted(dataset.scales)])
    filtered, failed, scores = {}, set(), {}
    for sample_id, what in dataset.samples():
        if isinstance(what, str):
            filtered[sample_id] = what
        elif not np.isfinite(what[1]).all():
            failed.add(sample_id)
        else:
            scores[sample_id] = _scored(what[0], scales[:, None] * what[1])
    return filtered, failed, scores


def _scored(label, logits):
    """Columns of a sample with (E, K) logits."""
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    loss, p = -log_p[:, label], np.exp(log_p)
    others = np.delete(logits, label, 1).max(1)
    half = (len(loss) + 1) // 2
    is_tie = np.abs(logits[:, label] - others).min() < 1e-6
    return {
        "csl": loss.mean(),
        "final_loss": loss[-1],
        "early_loss": loss[:half].mean(),
        "loss_max": loss.max(),
        "confidence": p[:, label].mean(),
        "aum": (logits[:, label] - others).mean(),
        "el2n": np.linalg.norm(p - np.eye(p.shape[1])[label], axis=1).mean(),
        "correctness": None if is_tie else (logits.argmax(1) == label).sum(),
    }
