"""Recorded numbers of the structures."""

import json

import numpy as np
import pytest
import torch

from okulo_core.testing import shared_path


class Golden:
    """Recorded inputs, outputs and settings of structures, by case."""

    def __init__(self) -> None:
        self.arrays = np.load(shared_path("golden/detectron2/structures.npz"), allow_pickle=False)
        self.settings = json.loads(shared_path("golden/detectron2/structures.json").read_text())

    def __call__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])

    def check(self, ours: torch.Tensor, key: str) -> None:
        """Exact for integers and booleans, 1e-5 for float32, 1e-10 for float64."""
        theirs = self(key)
        if not theirs.is_floating_point():
            assert torch.equal(ours.to(theirs.dtype), theirs)
            return
        allowance = 1e-10 if theirs.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(ours, theirs, rtol=allowance, atol=allowance)


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden()
