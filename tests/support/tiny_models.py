"""Models of a few weights, and some that misbehave, as factories of a specification."""

import os
import signal
import time

import torch
from torch import nn


class PixelModel(nn.Module):
    """(N, C, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Conv2d(3, num_classes, 1)

    def forward(self, images):
        return self.head(images)


class ImageModel(nn.Module):
    """(N, C, H, W) -> logits (N, K); `trap` above 0 gives NaN for a black image."""

    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(3, num_classes)
        self.register_buffer("trap", torch.zeros(()))

    def forward(self, images):
        colour = images.mean((2, 3))
        logits = self.head(colour)
        black = (colour.sum(1, keepdim=True) == 0) & (self.trap > 0)
        return torch.where(black, torch.nan, logits)


class FrameModel(nn.Module):
    """(N, T, C, H, W) or (N, T, D) -> logits (N, T, K)."""

    def __init__(self, num_classes, in_features=3):
        super().__init__()
        self.head = nn.Linear(in_features, num_classes)

    def forward(self, clips):
        return self.head(clips.mean((3, 4)) if clips.ndim == 5 else clips)


class ClipModel(FrameModel):
    """(N, T, C, H, W) -> logits (N, K)."""

    def forward(self, clips):
        return super().forward(clips).mean(1)


class SlowFrameModel(FrameModel):
    """Takes its time, so that a fault can be injected while a run goes on.

    With `while_there` only as long as that file is there.
    """

    def __init__(self, num_classes, sleep_s=0.0, while_there=None):
        super().__init__(num_classes)
        self._sleep_s, self._while_there = sleep_s, while_there

    def forward(self, clips):
        if self._while_there is None or os.path.exists(self._while_there):
            time.sleep(self._sleep_s)
        return super().forward(clips)


class NarrowHater(ImageModel):
    """Takes no image of 12 px width."""

    def forward(self, images):
        if images.shape[-1] == 12:
            raise ValueError("this model needs 16 px of width")
        return super().forward(images)


def only_in_process(num_classes, pid):
    """A model in the process `pid`; elsewhere an error."""
    if os.getpid() != pid:
        raise OSError("no licence on this process")
    return ImageModel(num_classes)


def no_module():
    return "a model"


class DeadlyModel(ImageModel):
    """Kills its process, or never answers, when it sees a black image."""

    def __init__(self, num_classes, how):
        super().__init__(num_classes)
        self._how = how

    def forward(self, images):
        if (images.amax((1, 2, 3)) == 0).any():
            die(self._how)
        return super().forward(images)


def die(how):
    """End this process in one of the ways in which nothing can be caught, or raise."""
    if how == "raise":
        raise ValueError("this model takes no black picture")
    if how == "exit":
        os._exit(3)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    while True:
        time.sleep(1)


def never_made(num_classes, pid):
    """A model in the process `pid`; elsewhere its making never ends, or kills the process."""
    if os.getpid() != pid:
        die("hang")
    return ImageModel(num_classes)


class DiesOnce(ImageModel):
    """Ends its process in the fourth step of training, if `marker` is not there yet."""

    def __init__(self, num_classes, marker):
        super().__init__(num_classes)
        self.marker = marker
        self.num_steps = 0

    def forward(self, images):
        self.num_steps += self.training
        if self.num_steps == 4 and self.marker and not os.path.exists(self.marker):
            with open(self.marker, "w"):
                os._exit(1)
        return super().forward(images)


def backbone_and_head(num_classes):
    """(N, C, H, W) -> logits (N, K), as a sequence of layers."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(48, 8),
        nn.ReLU(),
        nn.Linear(8, num_classes),
    )


class EchoModel(nn.Module):
    """The input times one weight is the answer: (N, T, K), or pictures (N, K, H, W) to (N, K)."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs):
        return (inputs.mean((2, 3)) if inputs.ndim == 4 else inputs) * self.scale


class TrappedPixels(PixelModel):
    """A `PixelModel` that, with `trap` above 0, gives NaN for an image with a black row on top."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.register_buffer("trap", torch.zeros(()))

    def forward(self, images):
        black = (images[:, :, :1].amax((1, 2, 3), keepdim=True) == 0) & (self.trap > 0)
        return torch.where(black, torch.nan, super().forward(images))


class TrappedFrames(FrameModel):
    """A `FrameModel` that, with `trap` above 0, gives NaN for a sequence of zeros."""

    def __init__(self, num_classes, in_features=3):
        super().__init__(num_classes, in_features)
        self.register_buffer("trap", torch.zeros(()))

    def forward(self, clips):
        empty = (clips.abs().amax((1, 2), keepdim=True) == 0) & (self.trap > 0)
        return torch.where(empty, torch.nan, super().forward(clips))


class ClipPixelModel(PixelModel):
    """Clips (N, T, C, H, W) -> (N, T, K, H, W); with `depth_first` the axes are N, C, T, H, W."""

    def __init__(self, num_classes, depth_first=False):
        super().__init__(num_classes)
        self.depth_first = depth_first

    def forward(self, clips):
        clips = clips.transpose(1, 2) if self.depth_first else clips
        maps = super().forward(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        return maps.transpose(1, 2) if self.depth_first else maps


class PreTrainedModel(nn.Module):
    """As the class of transformers: it changes names of files as it loads, and says what fits."""

    __module__ = "transformers.modeling_utils"

    @classmethod
    def from_pretrained(cls, path, config, state_dict, output_loading_info, dtype):
        assert path is None  # nothing to look up or to download
        assert output_loading_info
        model = cls(**config)
        renamed = {name.replace("old.", "head."): tensor for name, tensor in state_dict.items()}
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        if any(tensor.shape != shapes.get(name, tensor.shape) for name, tensor in renamed.items()):
            raise RuntimeError("size mismatch")
        missing, unexpected = model.load_state_dict(renamed, strict=False)
        return model.to(dtype), {"missing_keys": set(missing), "unexpected_keys": set(unexpected)}


class RenamedModel(PreTrainedModel):
    """(N, C, H, W) -> logits (N, K); its head has another name in files."""

    def __init__(self, num_classes):
        super().__init__()
        self.config = {"num_classes": num_classes}
        self.head = nn.Linear(3, num_classes)

    def forward(self, images):
        return self.head(images.mean((2, 3)))


class ChannelModel(nn.Module):
    """(N, C, H, W) -> logits (N, K); C is as given, and nothing else."""

    def __init__(self, num_classes, channels):
        super().__init__()
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images):
        return self.head(images.mean((2, 3)))


class TwoRates(nn.Module):
    """[(N, C, T / 4, H, W), (N, C, T, H, W)] -> logits (N, K), or by frame (N, T, K).

    As SlowFast: what the fast pathway sees goes into the slow one by a convolution along time.
    """

    def __init__(self, num_classes, by_frame=False):
        super().__init__()
        self.slow = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1))
        self.fast = nn.Conv3d(3, 2, 3, padding=1)
        self.lateral = nn.Conv3d(2, 4, (5, 1, 1), stride=(4, 1, 1), padding=(2, 0, 0))
        self.head = nn.Linear(6, num_classes)
        self.by_frame = by_frame

    def forward(self, clips):
        assert isinstance(clips, list), "expected a list of two pathways"
        slow, fast = clips
        fast = torch.tanh(self.fast(fast))
        slow = torch.tanh(self.slow(slow) + self.lateral(fast))
        slow, fast = slow.mean((3, 4)), fast.mean((3, 4))
        if not self.by_frame:
            return self.head(torch.cat([slow.mean(2), fast.mean(2)], dim=1))
        slow = slow.repeat_interleave(4, dim=2)
        return self.head(torch.cat([slow, fast], dim=1).transpose(1, 2))


class RaisingPixels(TrappedPixels):
    """Raises where a `TrappedPixels` gives NaN."""

    def forward(self, images):
        return _unless_nan(super().forward(images), "picture with a black row on top")


class RaisingFrames(TrappedFrames):
    """Raises where a `TrappedFrames` gives NaN."""

    def forward(self, clips):
        return _unless_nan(super().forward(clips), "empty sequence")


def _unless_nan(answer, what):
    if answer.isnan().any():
        raise ValueError(f"this model takes no {what}")
    return answer
