"""ResNet and FPN against features recorded from detectron2 (golden README, section 5).

Rows D2-589, D2-591 to D2-597, D2-600 to D2-602.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from okulo_modeling.backbones.backbone import Backbone
from okulo_modeling.backbones.fpn import FPN, LastLevelMaxPool, LastLevelP6P7
from okulo_modeling.backbones.resnet import (
    BasicStem,
    BottleneckBlock,
    ResNet,
    ResNetConfig,
    make_default_stages,
    make_stage,
)

pytestmark = pytest.mark.shared

FEATURES = ("res2", "res3", "res4", "res5")


def resnet(depth: int, norm: str = "FrozenBN", **kwargs) -> ResNet:
    stages = make_default_stages(depth, norm=norm, **kwargs)
    return ResNet(BasicStem(3, 64, norm), stages, out_features=FEATURES)


def classifier() -> ResNet:
    stages = make_default_stages(50, norm="FrozenBN", stride_in_1x1=True)
    return ResNet(BasicStem(3, 64, "FrozenBN"), stages, num_classes=10)


def custom() -> ResNet:
    """GN, groups, both places of the stride, and dilation in one network."""
    common = {"block_class": BottleneckBlock, "num_blocks": 2, "norm": "GN"}
    stages = [
        make_stage(in_channels=32, out_channels=64, bottleneck_channels=32, num_groups=4, **common),
        make_stage(
            in_channels=64,
            out_channels=128,
            bottleneck_channels=64,
            num_groups=4,
            stride_in_1x1=True,
            stride_per_block=[2, 1],
            **common,
        ),
        make_stage(in_channels=128, out_channels=256, bottleneck_channels=64, dilation=2, **common),
    ]
    return ResNet(BasicStem(3, 32, "GN"), stages, out_features=("stem", "res2", "res3", "res4"))


def fpn_sum() -> FPN:
    return FPN(ResNetConfig(depth=18).build(), FEATURES, 64, top_block=LastLevelMaxPool())


def fpn_avg() -> FPN:
    top_block = LastLevelP6P7(512, 64, "res5")
    bottom_up = ResNetConfig(depth=18).build()
    return FPN(bottom_up, FEATURES[1:], 64, norm="GN", top_block=top_block, fuse_type="avg")


CASES: dict[str, Callable[[], Backbone]] = {
    "resnet18": lambda: resnet(18),
    "resnet34": lambda: resnet(34),
    "resnet50_bn_eval": lambda: resnet(50, "BN"),
    "resnet50_bn_train": lambda: resnet(50, "BN"),
    "resnet50_classifier": classifier,
    "resnet_custom_gn_groups_dilation": custom,
    "fpn_sum": fpn_sum,
    "fpn_avg_gn_p6p7": fpn_avg,
}


@pytest.fixture
def padded_images(golden_inputs) -> torch.Tensor:
    batch = torch.zeros(2, 3, 192, 224)
    for i, sample in enumerate(golden_inputs):
        height, width = sample["image"].shape[1:]
        batch[i, :, :height, :width] = (sample["image"].float() - 120) / 60
    return batch


@pytest.mark.parametrize("name", CASES)
def test_features_are_detectron2s(name, golden, fill_by_recipe, padded_images):
    info, stored = golden("backbones.json")[name], golden("backbones.npz")
    backbone = CASES[name]().train(name.endswith("bn_train"))
    shapes = {key: list(tensor.shape) for key, tensor in backbone.state_dict().items()}
    assert shapes == golden(f"state_dicts/backbone_{name}.json")
    assert fill_by_recipe(backbone, info["extra_multipliers"]) == pytest.approx(
        info["checksum"], rel=1e-9
    )
    with torch.no_grad():
        features = backbone(padded_images)

    assert {key: list(tensor.shape) for key, tensor in features.items()} == info["outputs"]
    for key, tensor in features.items():
        mean_std_absmax = stored[f"{name}/{key}/mean_std_absmax"]
        flat = tensor.double().flatten().numpy()
        last = flat.size - 1
        at = [k * last // 63 for k in range(64)] if flat.size > 64 else slice(None)
        atol = 1e-4 * mean_std_absmax[2]
        np.testing.assert_allclose(flat[at], stored[f"{name}/{key}/sample"], rtol=0, atol=atol)
        stats = [flat.mean(), flat.std(), np.abs(flat).max()]
        np.testing.assert_allclose(stats, mean_std_absmax, rtol=0, atol=atol)


@pytest.mark.parametrize("name", [n for n in CASES if "classifier" not in n])
def test_declared_shapes_are_detectron2s(name, golden):
    info, backbone = golden("backbones.json")[name], CASES[name]()
    shapes = {key: [s.channels, s.stride] for key, s in backbone.output_shape().items()}
    assert shapes == info["output_shape"]
    assert backbone.size_divisibility == info["size_divisibility"]
    assert backbone.padding_constraints == info["padding_constraints"]
