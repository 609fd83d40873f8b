"""What weight files of detectron2 hold besides, or instead of, the state of our models."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from okulo_modeling.layers.norm import FrozenBatchNorm2d

__all__ = ["upgrade_weights"]

# Settings that older files stored as if they were weights.
_SETTINGS = re.compile(r"(^|\.)pixel_(mean|std)$|anchor_generator\.cell_anchors\.\d+$")


def upgrade_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as ``model`` names them, out of a file of any age.

    Pixel statistics and anchors are left out. Frozen norms that Caffe2 stored as weight and bias
    alone get the statistics these were folded with: mean 0, variance 1.
    """
    kept = {name: tensor for name, tensor in weights.items() if not _SETTINGS.search(name)}
    for name, module in model.named_modules():
        statistics = {f"{name}.running_mean": 0.0, f"{name}.running_var": 1.0}
        incomplete = f"{name}.weight" in kept and not statistics.keys() & kept.keys()
        if isinstance(module, FrozenBatchNorm2d) and incomplete:
            for entry, value in statistics.items():
                kept[entry] = torch.full_like(module.weight, value)
    return kept
