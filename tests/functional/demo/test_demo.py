import torch

from ray_audit.checkpoints.factory import build_model
from ray_audit.config import AuditConfig
from ray_audit.demo import demo, specifications
from ray_audit.demo.specifications import write_specifications

torch.set_num_threads(1)


def test_specifications_load_and_their_models_answer(tmp_path):
    paths = write_specifications(tmp_path)
    assert {name: path.name for name, path in paths.items()} == {
        "videos": "audit-videos.yaml",
        "masks": "audit-masks.yaml",
    }
    videos, masks = (AuditConfig.load(paths[name]) for name in ("videos", "masks"))
    assert build_model(videos.model)(torch.zeros(1, 3, 3, 48, 48)).shape == (1, 3, 5)
    assert build_model(masks.model)(torch.zeros(1, 1, 64, 64)).shape == (1, 4, 64, 64)
    assert videos.dataset.clip.frames == 32


def test_brackets_in_the_folder_are_no_wildcards(tmp_path):
    out = tmp_path / "run [1]"
    out.mkdir()
    config = AuditConfig.load(write_specifications(out)["masks"])
    assert "run [[]1]" in config.checkpoints


def test_data_and_training_leave_what_the_specifications_name(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "NUM_VIDEOS", 4)
    monkeypatch.setattr(demo, "NUM_IMAGES", 8)
    monkeypatch.setattr(specifications, "NUM_EPOCHS", 2)
    paths = demo.make_datasets(tmp_path / "out")
    kept = demo.train_models(tmp_path / "out")
    for name, path in paths.items():
        config = AuditConfig.load(path)
        assert len(kept[name]) == 2
        assert config.checkpoints == f"{kept[name][0].parent}/epoch_*.safetensors"
