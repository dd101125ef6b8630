"""Weights into a model, without running code from their files."""

from collections.abc import Mapping
from contextlib import suppress

from torch import Tensor, nn

from ray_audit.checkpoints.catalog import base_uri
from ray_audit.checkpoints.file_tensors import tensors_in
from ray_audit.checkpoints.own_names import by_its_class, is_renamed_by_class, of_adapters
from ray_audit.checkpoints.weights import (
    Expected,
    as_configured,
    fitting,
    renamed,
)
from ray_audit.config import WeightsConfig
from ray_audit.errors import CheckpointError


def load_weights(model: nn.Module, uri: str, config: WeightsConfig | None = None) -> None:
    """Load a checkpoint into `model`, in place.

    Args:
        model: as the factory gives it.
        uri: a file of weights, or the index of a model that is split into several.
        config: `model.weights`: where in the file they lie, and under which names.

    Raises:
        CheckpointError: unreadable, unsafe, or of another architecture (the keys are named).
    """
    config = config or WeightsConfig()
    expected = Expected.of(model)
    found = {path: of_adapters(model, tensors) for path, tensors in tensors_in(uri, config).items()}
    base = base_of(model, expected, config)
    try:
        state = fitting(uri, found, expected, config, base)
    except CheckpointError:
        if not is_renamed_by_class(model):
            raise
        state = fitting(uri, _by_class(model, uri, found, config), expected, WeightsConfig(), base)
    _check_types(model, uri, state)
    missing, superfluous = model.load_state_dict(state, strict=False)
    left = [name for name in (*missing, *superfluous) if not name.endswith("num_batches_tracked")]
    if left:
        raise CheckpointError(f"checkpoint {uri} leaves out {', '.join(sorted(left)[:3])}")


def _check_types(model: nn.Module, uri: str, state: Mapping[str, Tensor]) -> None:
    """Refuse what torch would copy and make other numbers of: codes of quantised weights, say."""
    own = model.state_dict()
    for name, tensor in state.items():
        is_coded = own[name].is_floating_point() and not (
            tensor.is_floating_point() or tensor.is_complex()
        )
        if is_coded or (tensor.is_complex() and not own[name].is_complex()):
            raise CheckpointError(
                f"checkpoint {uri}: {name} is {tensor.dtype}, the model has {own[name].dtype}: "
                "quantised or complex weights mean other numbers than they store; save them as "
                "floating point"
            )


def base_of(
    model: nn.Module, expected: Expected, config: WeightsConfig
) -> dict[str, Tensor] | None:
    """Weights of `model.weights.base`, under the model's names: what it has of them."""
    if config.base is None:
        return None
    uri, plain = base_uri(config.base), WeightsConfig(ignore=config.ignore)
    found = list(tensors_in(uri, plain).values())
    with suppress(CheckpointError):  # it may hold a part only
        found += [
            converted
            for item in found
            if (converted := by_its_class(model, uri, item, is_part=True)) is not None
        ]
    states = [renamed(uri, of_adapters(model, o, is_base=True), expected, plain) for o in found]
    best = max(states, key=lambda state: len(set(state) & set(expected.shapes)))
    return {name: tensor for name, tensor in best.items() if name in expected.shapes}


def _by_class(
    model: nn.Module, uri: str, found: Mapping[str, Mapping[str, Tensor]], config: WeightsConfig
) -> dict[str, dict[str, Tensor]]:
    """What a class of transformers makes of the mappings in a file, by path.

    Raises:
        CheckpointError: nothing of any.
    """
    beneath = {} if config.base is None else _largest(tensors_in(base_uri(config.base), config))
    converted: dict[str, dict[str, Tensor]] = {}
    errors: list[CheckpointError] = []
    for path, state in sorted(found.items(), key=lambda item: -len(item[1])):
        names = beneath | as_configured(state, config)
        try:
            tensors = by_its_class(model, uri, names)
        except CheckpointError as error:
            errors.append(error)
            continue
        if tensors is not None:
            converted[path] = tensors
    if not converted:
        raise errors[0]
    return converted


def _largest(found: Mapping[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    return max(found.values(), key=len)
