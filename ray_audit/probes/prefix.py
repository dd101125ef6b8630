"""Leading layers that checkpoints have in common, such as a frozen backbone, run once a batch.

Layers are those of an `nn.Sequential`, or of `prefix` and then `head` of a model that has both
as modules and nothing else: its answer must be `head(prefix(inputs))`. Equal means: the digests of
all parameters and buffers are equal, in each layer from the first on. The same operations then
run on the same tensors as without sharing, so that every bit is the same.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ray_audit.probes.answers import logits_of
from ray_audit.probes.pathways import ModelInputs, with_each


class SharedChain:
    """Models that are run one after another over the same inputs, what they share once.

    Args:
        models: of one architecture, frozen.
        output: entry of an answer that holds the logits, or None.
        shares: whether to share at all.
    """

    def __init__(
        self, models: Sequence[nn.Module], output: str | int | None, shares: bool = True
    ) -> None:
        self._models = models
        self._output = output
        found = [layers_of(model) for model in models] if shares and len(models) > 1 else []
        self._layers = [layers for layers in found if layers is not None]
        if len(self._layers) < len(models):
            self._layers = []
        self.starts = _common_starts(self._layers) or (0,) * len(models)
        self._is_checked = all(_is_sequential(model) for model in models)
        self._kept: dict[int, Tensor] = {}
        self._last = -1
        self._with_gradients = False

    @property
    def shares(self) -> bool:
        """Whether anything is shared."""
        return any(self.starts)

    @property
    def num_layers(self) -> int:
        """Layers of each model; 0 where it shows none."""
        return len(self._layers[0]) if self._layers else 0

    def begin(self) -> None:
        """Other inputs come next."""
        self._kept.clear()
        self._last = -1

    def run(self, index: int, inputs: ModelInputs) -> Any:
        """Answer of the model at `index`, which is larger than that of the last run.

        The model may change `inputs`, which hold what they held in the last run unless `begin` was
        called. Nothing is taken over from a run in another mode of autograd: kernels may differ.
        """
        if not self.shares:
            return self._models[index](inputs)
        if not self._is_checked:
            self._check(index, inputs)
            return self.run(index, inputs)
        if self._with_gradients != torch.is_grad_enabled():
            self.begin()
        self._with_gradients = torch.is_grad_enabled()
        for passed in range(self._last + 1, index + 1):
            self._kept = {d: x for d, x in self._kept.items() if d <= self.starts[passed]}
        self._last = index
        depth = max(self._kept, default=0)
        return self._from(index, depth, self._kept[depth].clone() if depth else inputs)

    def _from(self, index: int, depth: int, value: Any) -> Any:
        layers, kept_at = self._layers[index], set(self.starts[index + 1 :])
        for place in range(depth, len(layers)):
            if place > depth and place in kept_at and torch.is_tensor(value):
                # The next layer may change what it is given.
                self._kept[place] = value
                value = value.clone()
            value = layers[place](value)
        return value

    def _check(self, index: int, inputs: ModelInputs) -> None:
        """Hold `head(prefix(x))` against the model itself, once; share nothing where it differs."""
        whole = logits_of(self._models[index](with_each(inputs, torch.clone)), self._output)
        parts = logits_of(self._from(index, 0, with_each(inputs, torch.clone)), self._output)
        self.begin()
        self._is_checked = True
        if not torch.equal(whole, parts):
            self.starts = (0,) * len(self._models)


def layers_of(model: nn.Module) -> list[nn.Module] | None:
    """Layers that run one after another; None where the model does not show any."""
    if _is_sequential(model):
        return _flat(model)
    prefix, head = getattr(model, "prefix", None), getattr(model, "head", None)
    if not (isinstance(prefix, nn.Module) and isinstance(head, nn.Module)) or _has_hooks(model):
        return None
    shown = {id(t) for part in (prefix, head) for t in (*part.parameters(), *part.buffers())}
    if any(id(t) not in shown for t in (*model.parameters(), *model.buffers())):
        return None
    return [*_flat(prefix), *_flat(head)]


def _flat(module: nn.Module) -> list[nn.Module]:
    if not _is_sequential(module):
        return [module]
    return [layer for child in module.children() for layer in _flat(child)]


def _is_sequential(module: nn.Module) -> bool:
    """Whether running its children one after another is all that it does."""
    is_plain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
    return is_plain and not _has_hooks(module)


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _common_starts(layers: Sequence[Sequence[nn.Module]]) -> tuple[int, ...]:
    """How many leading layers of each model are equal to those of the model before it."""
    starts: list[int] = []
    before: list[str] = []
    for model in layers:
        digests = [_digest(layer) for layer in model]
        pairs = zip(before, digests, strict=False)
        num = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(before), len(digests)))
        # A flattening or an activation alone is not worth a copy of what it gives.
        has_weights = any(True for layer in model[:num] for _ in layer.parameters())
        starts.append(num if has_weights else 0)
        before = digests
    return tuple(starts)


def _digest(layer: nn.Module) -> str:
    """Of a layer's make, parameters and buffers, those included that no file holds."""
    digest = hashlib.sha256(repr(layer).encode())
    for name, tensor in (*layer.named_parameters(), *layer.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(values.numpy().data)
    return digest.hexdigest()


def shared_note(names: Sequence[str], chain: SharedChain) -> str:
    """What is shared, for plans and manifests; empty where nothing is."""
    shared = [i for i, start in enumerate(chain.starts) if start]
    if not shared:
        return ""
    least, highest = (of(chain.starts[i] for i in shared) for of in (min, max))
    num = f"{highest}" if least == highest else f"{least} to {highest}"
    return (
        f"{num} of {chain.num_layers} layers are the same in checkpoint {names[shared[0]]}"
        f"{f' and {len(shared) - 1} more' if len(shared) > 1 else ''} as in the one before: they "
        "run once a batch"
    )
