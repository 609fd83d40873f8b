"""Norms, convolutions, losses, backbones. Rows D2-571 to D2-574, D2-578, D2-582, D2-584, D2-585,
D2-588, D2-591 to D2-594, D2-600."""

import pytest
import torch
from torch import nn

from okulo_modeling.backbones.fpn import FPN, FPNConfig
from okulo_modeling.backbones.resnet import BasicBlock, BasicStem, ResNet, ResNetConfig, make_stage
from okulo_modeling.layers.conv import Conv2d
from okulo_modeling.layers.losses import cross_entropy, diou_loss, giou_loss, smooth_l1_loss
from okulo_modeling.layers.norm import FrozenBatchNorm2d, get_norm
from okulo_modeling.layers.shape_spec import ShapeSpec
from okulo_modeling.layers.weight_init import c2_msra_fill, c2_xavier_fill


def randomised(norm: FrozenBatchNorm2d) -> FrozenBatchNorm2d:
    for name, buffer in norm.named_buffers():
        buffer.copy_(torch.rand_like(buffer) + (0.5 if name == "running_var" else -0.5))
    return norm


def test_a_fresh_frozen_norm_is_the_identity_without_parameters():
    norm, x = FrozenBatchNorm2d(3), torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(norm(x), x)
    assert not list(norm.parameters())
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var"]


@pytest.mark.parametrize("bias", [False, True])
def test_a_folded_norm_equals_convolution_then_norm(bias):
    conv = Conv2d(3, 5, 3, bias=bias, norm=randomised(FrozenBatchNorm2d(5))).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    plain = nn.functional.conv2d(x, conv.weight, conv.bias)
    expected = nn.functional.batch_norm(
        plain, conv.norm.running_mean, conv.norm.running_var, conv.norm.weight, conv.norm.bias
    )
    torch.testing.assert_close(conv(x), expected)
    got = torch.autograd.grad(conv(x).square().sum(), [x, conv.weight])
    torch.testing.assert_close(got, torch.autograd.grad(expected.square().sum(), [x, conv.weight]))


def test_freezing_and_thawing_norms_keeps_their_values():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, eps=1e-3))
    model(torch.randn(8, 3, 5, 5))
    x = torch.randn(2, 3, 5, 5)
    expected = model.eval()(x)
    frozen = FrozenBatchNorm2d.convert_frozen_batchnorm(model)
    assert frozen is model
    assert isinstance(model[1], FrozenBatchNorm2d)
    assert model[1].eps == 1e-3
    assert model[1].num_batches_tracked == 1
    torch.testing.assert_close(model(x), expected)
    thawed = FrozenBatchNorm2d.convert_frozenbatchnorm2d_to_batchnorm2d(model).eval()
    assert isinstance(thawed[1], nn.BatchNorm2d)
    torch.testing.assert_close(thawed(x), expected)


def test_a_norm_alone_is_replaced():
    assert isinstance(
        FrozenBatchNorm2d.convert_frozen_batchnorm(nn.SyncBatchNorm(4)), FrozenBatchNorm2d
    )


def test_old_states_without_statistics_load():
    norm = FrozenBatchNorm2d(2)
    norm.load_state_dict({"weight": torch.tensor([1.0, 2.0]), "bias": torch.zeros(2)})
    assert norm.running_mean.tolist() == [0.0, 0.0]
    assert norm.running_var.tolist() == [1.0, 1.0]


def test_frozen_norm_keeps_half_precision():
    norm = FrozenBatchNorm2d(3)
    x = torch.randn(1, 3, 2, 2).bfloat16().requires_grad_()
    assert norm(x).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "kind"),
    [("BN", nn.BatchNorm2d), ("SyncBN", nn.SyncBatchNorm), ("FrozenBN", FrozenBatchNorm2d)],
)
def test_norm_by_name(name, kind):
    assert isinstance(get_norm(name, 8), kind)
    assert get_norm("", 8) is get_norm(None, 8) is None
    assert get_norm(lambda channels: nn.Identity(), 8) is not None


def test_unknown_norm_lists_the_known():
    with pytest.raises(ValueError, match=r"'BN', 'SyncBN', 'FrozenBN', 'GN'.*got 'bn'"):
        get_norm("bn", 8)


def test_convolution_with_norm_and_activation_takes_no_images():
    conv = Conv2d(3, 4, 3, padding=1, norm=nn.BatchNorm2d(4), activation=torch.relu)
    assert (conv(torch.randn(2, 3, 5, 5)) >= 0).all()
    assert conv(torch.zeros(0, 3, 5, 5)).shape == (0, 4, 5, 5)


def test_mean_loss_over_nothing_is_zero_and_keeps_the_graph():
    logits = torch.zeros(0, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss == 0
    boxes = torch.zeros(0, 4, requires_grad=True)
    for function in (giou_loss, diou_loss):
        assert function(boxes, boxes, reduction="mean") == 0
    assert smooth_l1_loss(boxes, boxes, 0.5, reduction="mean") == 0


def test_inverted_boxes_are_refused():
    with pytest.raises(ValueError, match="x0 <= x1"):
        giou_loss(torch.tensor([[5.0, 0.0, 1.0, 3.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]]))


def test_generalised_iou_of_distant_boxes_in_closed_form():
    near, far = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[3.0, 0.0, 4.0, 1.0]])
    # No overlap; the hull has area 4 and the union 2: 1 - (0 - 2 / 4).
    assert giou_loss(near, far).item() == pytest.approx(1.5)
    assert giou_loss(near, near).item() == pytest.approx(0.0, abs=1e-6)


def test_fills_have_the_stated_variance():
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 128, 3)
    c2_msra_fill(conv)
    assert conv.weight.var().item() == pytest.approx(2 / (128 * 9), rel=0.05)
    c2_xavier_fill(conv)
    assert conv.weight.var().item() == pytest.approx(1 / (64 * 9), rel=0.05)
    assert (conv.bias == 0).all()


def test_shapes_are_values():
    assert ShapeSpec(channels=3, stride=4) == ShapeSpec(3, None, None, 4)
    assert len({ShapeSpec(channels=3), ShapeSpec(channels=3)}) == 1


@pytest.mark.parametrize("freeze_at", range(6))
def test_freezing_stops_at_the_given_stage(freeze_at):
    net = ResNetConfig(depth=18, norm="BN", freeze_at=freeze_at).build()
    for i, name in enumerate(["stem", "res2", "res3", "res4", "res5"]):
        stage = getattr(net, name)
        frozen = i < freeze_at
        assert all(p.requires_grad != frozen for p in stage.parameters())
        kinds = {type(m) for m in stage.modules() if "Norm" in type(m).__name__}
        assert kinds == {FrozenBatchNorm2d if frozen else nn.BatchNorm2d}


def test_stages_that_nobody_asked_for_have_no_parameters():
    net = ResNetConfig(depth=18, out_features=("res2", "res3")).build()
    assert not hasattr(net, "res4")
    assert list(net.output_shape()) == ["res2", "res3"]


def test_arguments_for_each_block():
    common = {"in_channels": 4, "out_channels": 8, "norm": ""}
    blocks = make_stage(BasicBlock, 2, stride_per_block=[2, 1], **common)
    assert [block.stride for block in blocks] == [2, 1]
    assert [block.in_channels for block in blocks] == [4, 8]
    with pytest.raises(ValueError, match="one value for each of 3 blocks"):
        make_stage(BasicBlock, 3, stride_per_block=[2, 1], **common)
    with pytest.raises(ValueError, match="not both"):
        make_stage(BasicBlock, 2, stride=1, stride_per_block=[2, 1], **common)


def test_wrong_resnets_are_refused():
    stem = BasicStem(3, 4, "")
    with pytest.raises(ValueError, match=r"among \['stem', 'res2'\], got \['res9'\]"):
        ResNet(stem, [[BasicBlock(4, 4)]], out_features=["res9"])
    with pytest.raises(ValueError, match="res2 has none"):
        ResNet(stem, [[]])
    with pytest.raises(ValueError, match=r"\(N, C, H, W\), got shape \(3, 8, 8\)"):
        ResNet(stem, [[BasicBlock(4, 4)]])(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="depth"):
        ResNetConfig(depth=19)


def test_pyramid_needs_strides_that_double():
    bottom_up = ResNetConfig(depth=18).build()
    with pytest.raises(ValueError, match=r"must double from one to the next, got \[4, 16\]"):
        FPN(bottom_up, ["res2", "res4"], 8)
    with pytest.raises(ValueError, match=r"add \['res6'\] to its out_features"):
        FPN(bottom_up, ["res5", "res6"], 8)
    with pytest.raises(ValueError, match="fuse_type"):
        FPN(bottom_up, ["res5"], 8, fuse_type="max")


def test_pyramid_without_top_block_and_with_square_padding():
    fpn = FPNConfig(bottom_up=ResNetConfig(depth=18), top_block=None, square_pad=256).build()
    assert list(fpn.output_shape()) == ["p2", "p3", "p4", "p5"]
    assert fpn.padding_constraints == {"square_size": 256}
