"""These tests need a GPU: without one they skip, or fail where one is promised."""

import os

import pytest
import torch

_REQUIRED = "RAY_AUDIT_REQUIRE_GPU"


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.gpu)


@pytest.fixture
def cuda():
    if not torch.cuda.is_available():
        if os.environ.get(_REQUIRED) == "1":
            pytest.fail(f"{_REQUIRED}=1, and torch sees no GPU")
        pytest.skip(f"torch sees no GPU ({_REQUIRED}=1 makes that a failure)")
    return torch.device("cuda")
