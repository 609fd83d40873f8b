"""Golden numbers; this suite runs where only okulo-ops is installed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch


class Golden:
    """Recorded inputs, outputs and settings of operators, by case."""

    def __init__(self, folder: Path) -> None:
        self.arrays = np.load(folder / "ops.npz", allow_pickle=False)
        self.settings = json.loads((folder / "ops.json").read_text())

    def __call__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])


@pytest.fixture(scope="session")
def golden() -> Golden:
    root = os.environ.get("OKULO_SHARED", Path(__file__).parents[3].parent / "shared")
    folder = Path(root) / "golden" / "detectron2"
    if not folder.exists():
        pytest.skip(f"shared data not found: {folder}; set OKULO_SHARED to its root")
    return Golden(folder)
