"""What to do where a model does not take the one tensor that it is given."""

import inspect
import re
import traceback

import torch
from torch import nn

from ray_audit.config import AuditConfig
from ray_audit.probes.prober import Prober, ProbeSettings
from ray_audit.samples import Batch

_OTHER_KINDS = (TypeError, AttributeError, IndexError, KeyError, AssertionError)
_OTHER_WORDS = re.compile(r"unpack|\blist|tuple|dict|pathway|specify", re.IGNORECASE)


def input_hint(error: BaseException, model: nn.Module, batch: Batch, config: AuditConfig) -> str:
    """A sentence to follow what a model raised at a batch; empty where none is sure to help.

    Args:
        error: what it raised.
        model: what the factory gave.
        batch: what it was given.
        config: the specification.
    """
    layout = _fitting_layout(model, batch, config)
    if layout is not None:
        return _LAYOUTS[layout]
    if _is_of_probes(error):
        return ""
    if batch.task.is_dense and batch.arrays["inputs"].ndim == 5 and not _is_of_clips(model):
        return ". It takes single slices or frames: leave dataset.clip out"
    others = _further_arguments(model)
    if others:
        names = " and ".join(others)
        return (
            f". Its forward takes {names} besides, and is given one tensor: let the factory return "
            f"a module that makes them, `def forward(self, x): return self.net(x, {others[0]}=...)`"
        )
    if isinstance(error, _OTHER_KINDS) or _OTHER_WORDS.search(str(error)):
        return f"{_pathways_hint(batch, config)}. {_WRAP}"
    return _channels_hint(batch, config)


_LAYOUTS = {
    "NCTHW": ". It takes (N, C, T, H, W): give model.input.layout: NCTHW",
    "NCHW": ". It takes single frames: give model.input.layout: NCHW",
    "NHWC": ". It takes channels last: give model.input.layout: NHWC",
    "NDT": ". It takes (N, D, T): give model.input.layout: NDT",
    "ND": ". It takes single frames: give model.input.layout: ND",
}


def _fitting_layout(model: nn.Module, batch: Batch, config: AuditConfig) -> str | None:
    """The order of axes in which the model gives an answer as it should be; None where in none."""
    for layout in _LAYOUTS:
        values = config.model_dump()
        values["model"]["input"]["layout"] = layout
        try:
            settings = ProbeSettings.of(
                AuditConfig.parse(values), None, precision="float32", compiles=False
            )
            Prober([model], settings, torch.device("cpu")).look(batch)
        except (Exception, SystemExit):  # a user's model, at what it does not take
            continue
        return layout
    return None


_WRAP = (
    "It is given one tensor (images, clips or features): where it takes something else, let the "
    "factory return a module that makes it, such as `def forward(self, x): return "
    'self.net({"image": x})`'
)


def _is_of_probes(error: BaseException) -> bool:
    """Whether the answer did not fit, which its message tells, and not the input."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).startswith("ray_audit.probes")


def _is_of_clips(model: nn.Module) -> bool:
    """Whether a model of convolutions has some over three axes; without any it may be either."""
    weights = [parameter.ndim for parameter in model.parameters()]
    return 5 in weights or 4 not in weights


def _further_arguments(model: nn.Module) -> list[str]:
    """Arguments of its forward besides the first that must be given."""
    try:
        arguments = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):  # compiled, or of another language
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        argument.name
        for argument in arguments[1:]
        if argument.kind not in variadic and argument.default is inspect.Parameter.empty
    ]


def _pathways_hint(batch: Batch, config: AuditConfig) -> str:
    if batch.arrays["inputs"].ndim != 5 or config.model.input.pathways is not None:
        return ""
    return (
        ". Where it takes a list of clips, as SlowFast does, give model.input.pathways, such as "
        "[4, 1] (a list of one: [1])"
    )


def _channels_hint(batch: Batch, config: AuditConfig) -> str:
    inputs, channels = batch.arrays["inputs"], config.model.input.channels
    if inputs.ndim != 4:
        return ""
    if channels is not None:
        num = 1 if channels == "grey" else 3
        return f". model.input.channels: {channels} gives it {num}; it may take another number"
    return (
        ". Images come with 1 or 3 channels, without alpha: model.input.channels (rgb, bgr or "
        "grey) makes them alike"
    )
