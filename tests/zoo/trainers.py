"""Three checkpoints of a model, saved by its own trainer, and loaded again by its own library."""

import argparse
import copy
import shutil
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812

STEPS = 3
RATE = 0.02


def _step(model, optimizer, examples):
    inputs, targets = (torch.stack([example[key] for example in examples]) for key in ("x", "y"))
    answer = model.train()(inputs)
    logits = getattr(answer, "logits", answer)
    if targets.ndim == 3:
        logits = F.interpolate(logits, targets.shape[1:], mode="bilinear", align_corners=False)
    F.cross_entropy(logits, targets).backward()
    optimizer.step()
    optimizer.zero_grad()


def _trained(model, examples):
    """The model after each step; batches of two, so that batch norms have something to do."""
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    for step in range(STEPS):
        _step(model, optimizer, examples[2 * step : 2 * step + 2])
        yield step, optimizer


def plain(make, examples, folder):
    """`torch.save` of the weights alone."""
    model = make()
    for step, _ in _trained(model, examples):
        torch.save(model.state_dict(), folder / f"epoch_{step}.pth")

    def load(step):
        model.load_state_dict(torch.load(folder / f"epoch_{step}.pth", weights_only=True))
        return model

    return f"{folder}/epoch_*.pth", load


def hugging_face(make, examples, folder):
    """The Trainer's folders: safetensors beside optimizer, scheduler, random states, arguments."""
    from transformers import Trainer, TrainingArguments

    model = make()
    arguments = TrainingArguments(
        str(folder),
        max_steps=STEPS,
        save_steps=1,
        per_device_train_batch_size=2,
        learning_rate=RATE,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    rows = [{"pixel_values": example["x"], "labels": example["y"]} for example in examples]
    Trainer(model, arguments, train_dataset=rows).train()
    return f"{folder}/checkpoint-*", lambda step: type(model).from_pretrained(
        folder / f"checkpoint-{step + 1}"
    )


def sharded(make, examples, folder):
    """`save_pretrained` in several files with an index."""
    model = make()
    for step, _ in _trained(model, examples):
        model.save_pretrained(folder / f"checkpoint-{step}", max_shard_size="10KB")
        assert (folder / f"checkpoint-{step}/model.safetensors.index.json").is_file()
    return f"{folder}/checkpoint-*", lambda step: type(model).from_pretrained(
        folder / f"checkpoint-{step}"
    )


def adapters(make, examples, folder):
    """The Trainer's folders of a peft model: what was trained, above a base that was saved once."""
    from peft import PeftModel

    from tests.zoo.models import vit

    torch.manual_seed(0)
    base = vit()
    base.save_pretrained(folder / "base")
    model = make()
    model.get_base_model().load_state_dict(
        {_wrapped(name, model): value for name, value in base.state_dict().items()}, strict=False
    )
    pattern, _ = hugging_face(lambda: model, examples, folder)

    def load(step):
        plain = type(base).from_pretrained(folder / "base")
        return PeftModel.from_pretrained(plain, folder / f"checkpoint-{step + 1}")

    return pattern, load


def _wrapped(name, model):
    own = model.get_base_model().state_dict()
    module, _, last = name.rpartition(".")
    places = (name, f"{module}.base_layer.{last}", f"{module}.original_module.{last}")
    return next(place for place in places if place in own)


def lightning(make, examples, folder):
    """Lightning's `.ckpt` files, with `last.ckpt` beside them."""
    from lightning import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch.utils.data import DataLoader

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.model = make()
            self.loss = torch.nn.CrossEntropyLoss(weight=torch.ones(3))
            self.save_hyperparameters({"optimizer": argparse.Namespace(rate=RATE)})

        def training_step(self, batch, _):
            return self.loss(self.model(batch["x"]), batch["y"])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), RATE)

    saver = ModelCheckpoint(folder, "{step}", save_top_k=-1, every_n_train_steps=1, save_last=True)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        callbacks=[saver],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), DataLoader(examples, batch_size=2, num_workers=0))
    assert (folder / "last.ckpt").is_file()

    def load(step):
        path = folder / f"step={step + 1}.ckpt"
        return Module.load_from_checkpoint(path, weights_only=False).model

    return f"{folder}/*.ckpt", load


def timm(make, examples, folder):
    """timm's `.pth.tar`: arguments, optimizer and an average of the weights beside them."""
    from timm.models import load_checkpoint
    from timm.utils import CheckpointSaver, ModelEmaV3

    model = make()
    average = ModelEmaV3(model, decay=0.5)
    saver = None
    for step, optimizer in _trained(model, examples):
        average.update(model)
        arguments = argparse.Namespace(lr=RATE, model="test_resnet")
        saver = saver or CheckpointSaver(
            model, optimizer, arguments, average, checkpoint_dir=str(folder), max_history=STEPS
        )
        saver.save_checkpoint(step, metric=0.5)

    def load(step):
        loaded = copy.deepcopy(model)  # the average is what timm itself takes
        load_checkpoint(loaded, str(folder / f"checkpoint-{step}.pth.tar"), weights_only=False)
        return loaded

    return f"{folder}/*.pth.tar", load


def mmengine(make, examples, folder):
    """mmengine's `.pth`, with a message hub of history buffers."""
    from mmengine.logging import MessageHub
    from mmengine.runner import save_checkpoint

    model = make()
    hub = MessageHub.get_instance("zoo")
    for step, optimizer in _trained(model, examples):
        hub.update_scalar("train/loss", 0.5)
        content = {"meta": {"epoch": step}, "state_dict": model.state_dict()}
        content |= {"optimizer": optimizer.state_dict(), "message_hub": hub.state_dict()}
        save_checkpoint(content, str(folder / f"epoch_{step}.pth"))

    def load(step):
        content = torch.load(folder / f"epoch_{step}.pth", weights_only=False)
        model.load_state_dict(content["state_dict"])
        return model

    return f"{folder}/epoch_*.pth", load


def fresh(folder):
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)
    return Path(folder)
