"""Weight files of detectron2: settings in older ones, Caffe2's norms. Row D2-571; section 23.7."""

import torch
from torch import Tensor, nn

from okulo_core.weights import LoadReport, load_weights
from okulo_modeling.backbones.fpn import FPNConfig
from okulo_modeling.backbones.resnet import ResNetConfig
from okulo_modeling.detectors.generalized_rcnn import FasterRCNNConfig
from okulo_modeling.layers.conv import Conv2d
from okulo_modeling.layers.norm import FrozenBatchNorm2d
from okulo_modeling.weights import upgrade_weights


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Conv2d(3, 8, 3, norm=FrozenBatchNorm2d(8))

    def upgrade_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return upgrade_weights(self, weights)


def loaded(weights: dict[str, Tensor], model: nn.Module) -> LoadReport:
    return load_weights(model, weights, source="a file")


def test_settings_of_older_files_are_ignored():
    source, model = Model(), Model()
    old = {
        "pixel_mean": torch.zeros(3, 1, 1),
        "pixel_std": torch.ones(3, 1, 1),
        "proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(3, 4),
        "backbone.norm.num_batches_tracked": torch.tensor(7),
    }
    report = loaded(source.state_dict() | old, model)
    assert not report.misfits
    assert report.loaded == len(source.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name])


def test_the_detector_is_asked_by_whoever_loads_it():
    config = FasterRCNNConfig(backbone=FPNConfig(bottom_up=ResNetConfig(depth=18)))
    with torch.device("meta"):
        model = config.build()
    old = {**model.state_dict(), "pixel_mean": torch.zeros(3, 1, 1)}
    assert "pixel_mean" not in model.upgrade_weights(old)


def test_norms_without_statistics_get_mean_0_and_variance_1():
    weights = {n: t for n, t in Model().state_dict().items() if "running" not in n}
    model = Model()
    model.backbone.norm.running_mean.fill_(5.0)
    assert not loaded(weights, model).misfits
    assert torch.equal(model.backbone.norm.running_mean, torch.zeros(8))
    assert torch.equal(model.backbone.norm.running_var, torch.ones(8))
