"""Equal numbers in every run on one kind of device."""

import os

import torch


def use_exact_float32() -> None:
    """Make float32 mean float32 in this process, on every GPU and in every run."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def repeat_every_bit() -> None:
    """Give sums one order, and make float32 mean float32, on every GPU and in every run."""
    use_exact_float32()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    # A model with an operation that has no such form runs all the same, with a warning in its log.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # For debugging only, and at a price.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
