"""Fixtures of the golden tests: the weight recipe and the inputs of golden/detectron2/README.md."""

import json
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from okulo_core.structures import Boxes, Instances
from okulo_core.testing import shared_path


def _golden(path: str) -> Path:
    return shared_path(f"golden/detectron2/{path}")


@pytest.fixture
def golden() -> Callable[[str], dict]:
    """Read ``golden/detectron2/<path>``: JSON as it is, .npz as a dictionary of arrays."""

    def read(path: str) -> dict:
        file = _golden(path)
        if file.suffix == ".json":
            return json.loads(file.read_text())
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    return read


@pytest.fixture
def fill_by_recipe() -> Callable[..., dict[str, float]]:
    """Fill a module's state by the recipe (README, section 2); returns the checksum."""
    return _fill


def _fill(
    module: nn.Module, extra_multipliers: Sequence[tuple[str, float]] = ()
) -> dict[str, float]:
    state = module.state_dict()
    multipliers = json.loads(_golden("fill_rules.json").read_text())["first_match_multipliers"]
    filled = [
        _fill_entry(key, tensor, state, multipliers, extra_multipliers)
        for key, tensor in state.items()
        if tensor.is_floating_point()
    ]
    return {
        "sum": sum(float(v.astype(np.float64).sum()) for v in filled),
        "sumsq": sum(float((v.astype(np.float64) ** 2).sum()) for v in filled),
        "numel": sum(v.size for v in filled),
        "entries": len(state),
    }


def _fill_entry(key, tensor, state, multipliers, extra_multipliers) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    shape = tuple(tensor.shape)
    leaf = key.rsplit(".", 1)[-1]
    sibling = state.get(key.removesuffix("bias") + "weight")
    if leaf == "running_mean":
        value = 0.05 * rng.standard_normal(shape)
    elif leaf == "running_var":
        value = rng.uniform(0.8, 1.2, shape)
    elif leaf == "weight" and len(shape) >= 2:
        factor = next((m for pattern, m in multipliers if re.search(pattern, key)), 1.0)
        for pattern, extra in extra_multipliers:
            factor *= extra if re.search(pattern, key) else 1.0
        fan_in = np.prod(shape[1:])
        value = factor * np.sqrt(2 / fan_in) * rng.standard_normal(shape)
    elif leaf == "weight":
        value = rng.uniform(0.3, 0.6, shape)
    elif leaf == "bias" and sibling is not None and sibling.dim() == 1:
        value = 0.05 * rng.standard_normal(shape)
    elif leaf == "bias":
        value = 0.01 * rng.standard_normal(shape)
    else:
        raise NotImplementedError(f"the recipe for {key} is not needed here")
    value = value.astype(np.float32)
    tensor.copy_(torch.from_numpy(value))
    return value


@pytest.fixture
def golden_inputs() -> list[dict]:
    """The two test images as samples; the first asks for output at 240 x 352."""
    with np.load(_golden("inputs.npz"), allow_pickle=False) as arrays:
        images = [arrays[name] for name in sorted(arrays.files) if arrays[name].ndim == 3]
    samples = [{"image": torch.from_numpy(i.transpose(2, 0, 1).copy())} for i in images]
    samples[0] |= {"height": 240, "width": 352}
    return samples


@pytest.fixture
def tiny_batch() -> Callable[..., list[dict]]:
    """Make samples of random pixels: ``tiny_batch((64, 80), (48, 64), objects=(2, 0))``."""

    def make(*sizes: tuple[int, int], objects: Sequence[int] = (), classes: int = 3) -> list[dict]:
        generator = torch.Generator().manual_seed(0)
        samples = []
        for (height, width), count in zip(sizes, objects or (2,) * len(sizes), strict=True):
            corner = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) / 2
            side = 8 + torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) / 3
            instances = Instances((height, width))
            instances.gt_boxes = Boxes(torch.cat((corner, corner + side), dim=1))
            instances.gt_classes = torch.arange(count) % classes
            image = torch.randint(0, 256, (3, height, width), generator=generator)
            samples.append({"image": image.to(torch.uint8), "instances": instances})
        return samples

    return make
