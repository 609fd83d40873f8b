"""Box coding, anchors, matching, pooling, proposals and losses against detectron2's numbers.

Golden README, section 6. Rows D2-571, D2-574, D2-588, D2-611, D2-614, D2-617 to D2-619, D2-621,
D2-626, D2-643, D2-675, D2-793, D2-800.
"""

import numpy as np
import pytest
import torch

from okulo_core.structures import Boxes, Instances
from okulo_modeling.anchors import DefaultAnchorGenerator
from okulo_modeling.box_regression import Box2BoxTransform, dense_box_regression_loss
from okulo_modeling.layers.losses import ciou_loss, diou_loss, giou_loss, smooth_l1_loss
from okulo_modeling.layers.norm import FrozenBatchNorm2d, get_norm
from okulo_modeling.matcher import Matcher
from okulo_modeling.poolers import assign_boxes_to_levels, convert_boxes_to_pooler_format
from okulo_modeling.postprocessing import detector_postprocess
from okulo_modeling.proposal_utils import find_top_rpn_proposals
from okulo_modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from okulo_modeling.sampling import subsample_labels

pytestmark = pytest.mark.shared


class Case:
    """The stored parameters, inputs and outputs of one family of arrays."""

    def __init__(self, golden, name: str) -> None:
        self.info = golden("ops.json").get(name, {})
        self.arrays = {
            key.removeprefix(name + "/"): value
            for key, value in golden("ops.npz").items()
            if key.startswith(name + "/")
        }

    def input(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[f"in/{name}"])

    def check(self, name: str, value: torch.Tensor, tolerance: float = 1e-5) -> None:
        expected = self.arrays[f"out/{name}"]
        assert value.shape == expected.shape
        if value.is_floating_point():
            np.testing.assert_allclose(
                value.detach().numpy(), expected, rtol=tolerance, atol=tolerance
            )
        else:
            np.testing.assert_array_equal(value.numpy(), expected)


@pytest.fixture
def case(golden):
    return lambda name: Case(golden, name)


@pytest.mark.parametrize("name", ["box2box_1", "box2box_10"])
def test_box_deltas(name, case):
    c = case(name)
    transform = Box2BoxTransform(c.info["weights"])
    assert transform.scale_clamp == c.info["scale_clamp"]
    deltas = transform.get_deltas(c.input("src"), c.input("tgt"))
    c.check("get_deltas", deltas)
    c.check("apply_get", transform.apply_deltas(deltas, c.input("src")), 1e-4)
    c.check("apply", transform.apply_deltas(c.input("deltas"), c.input("src")))


def test_growth_of_boxes_is_clamped(case):
    c = case("box2box_clamp0.5")
    transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0), c.info["scale_clamp"])
    c.check("apply", transform.apply_deltas(c.input("deltas"), c.input("src")))


@pytest.mark.parametrize("name", ["one_size_per_level", "offset_half", "shared"])
def test_anchors(name, case):
    c = case(f"anchors/{name}")
    settings = {k: c.info[k] for k in ("sizes", "aspect_ratios", "strides", "offset")}
    generator = DefaultAnchorGenerator(**settings)
    anchors = generator([torch.zeros(1, 1, *hw) for hw in c.info["grid_hw"]])
    assert generator.num_anchors == generator.num_cell_anchors == c.info["num_anchors"]
    assert list(generator.state_dict()) == c.info["state_dict_keys"]
    for level in range(2):
        c.check(f"level{level}", anchors[level].tensor)
        c.check(f"cell{level}", generator.cell_anchors[level])


@pytest.mark.parametrize("name", ["rpn", "rpn_nolow", "roi", "retina", "ignore_low"])
def test_matcher(name, case):
    c = case(f"matcher/{name}")
    matches, labels = Matcher(**c.info)(c.input("quality"))
    c.check("matches", matches)
    c.check("labels", labels)


def test_matcher_without_truth(case):
    c = case("matcher/empty")
    matches, labels = Matcher([0.3, 0.7], [0, -1, 1])(torch.zeros(c.info["quality_shape"]))
    c.check("matches", matches)
    c.check("labels", labels)


@pytest.mark.parametrize("index", range(5))
def test_sampling_draws_as_many_and_the_same(index, case):
    c = case(f"subsample/{index}")
    torch.manual_seed(c.info["torch_manual_seed"])
    settings = {k: c.info[k] for k in ("num_samples", "positive_fraction", "bg_label")}
    positive, negative = subsample_labels(c.input("labels"), **settings)
    assert len(positive) == c.arrays["out/num_pos"]
    assert len(negative) == c.arrays["out/num_neg"]
    c.check("pos_idx", positive)
    c.check("neg_idx", negative)


@pytest.mark.parametrize("name", ["2_5_224_4", "3_5_224_4", "2_6_100_3"])
def test_level_of_boxes(name, case):
    c = case(f"level_assign/{name}")
    boxes = [Boxes(c.input("b0")), Boxes(c.input("b1"))]
    settings = {k: c.info[k] for k in ("min_level", "max_level")}
    canonical = {k: c.info[k] for k in ("canonical_box_size", "canonical_level")}
    c.check("levels", assign_boxes_to_levels(boxes, **settings, **canonical))


def test_pooler_format(case):
    c = case("pooler_format")
    c.check("rois", convert_boxes_to_pooler_format([Boxes(c.input("b0")), Boxes(c.input("b1"))]))


@pytest.mark.parametrize("name", "abc")
def test_top_proposals(name, case):
    c = case(f"find_top_rpn_proposals/{name}")
    found = find_top_rpn_proposals(
        [c.input("proposals0"), c.input("proposals1")],
        [c.input("logits0"), c.input("logits1")],
        [tuple(size) for size in c.info["image_sizes_hw"]],
        **{k: v for k, v in c.info.items() if k != "image_sizes_hw"},
    )
    for i, proposals in enumerate(found):
        c.check(f"boxes{i}", proposals.proposal_boxes.tensor)
        c.check(f"logits{i}", proposals.objectness_logits)


@pytest.mark.parametrize("name", ["perclass", "agnostic"])
def test_detections(name, case):
    c = case(f"fast_rcnn_inference/{name}")
    (found,), (rows,) = fast_rcnn_inference(
        [c.input("boxes")],
        [c.input("scores")],
        [tuple(c.info["image_hw"])],
        c.info["score_thresh"],
        c.info["nms_thresh"],
        c.info["topk"],
    )
    c.check("boxes", found.pred_boxes.tensor)
    c.check("scores", found.scores)
    c.check("classes", found.pred_classes)
    c.check("kept_rows", rows)


LOSSES = {"giou": giou_loss, "diou": diou_loss, "ciou": ciou_loss}


@pytest.mark.parametrize("name", LOSSES)
def test_iou_losses_and_gradients(name, case):
    c, loss = case(f"loss_{name}"), LOSSES[name]
    b1, b2 = c.input("b1").requires_grad_(), c.input("b2")
    for reduction in ("none", "mean", "sum"):
        c.check(reduction, loss(b1, b2, reduction=reduction, eps=c.info["eps"]))
    loss(b1, b2, reduction="sum").backward()
    c.check("grad_b1_of_sum", b1.grad)


@pytest.mark.parametrize("name", ["0", "1e-06", "0.11", "1", "3"])
def test_smooth_l1_and_gradient(name, case):
    c = case(f"smooth_l1_{name}")
    x, target = c.input("x").requires_grad_(), c.input("t")
    for reduction in ("none", "mean", "sum"):
        c.check(reduction, smooth_l1_loss(x, target, c.info["beta"], reduction=reduction))
    smooth_l1_loss(x, target, c.info["beta"], reduction="sum").backward()
    c.check("grad_x_of_sum", x.grad)


@pytest.mark.parametrize("name", ["smooth_l1", "giou", "diou", "ciou"])
def test_dense_box_loss(name, case):
    c = case(f"dense_box_reg_{name}")
    loss = dense_box_regression_loss(
        [Boxes(c.input("anchors"))],
        Box2BoxTransform(c.info["weights"]),
        [c.input("deltas")],
        list(c.input("gt_boxes")),
        c.input("fg_mask").bool(),
        box_reg_loss_type=name,
        smooth_l1_beta=c.info["smooth_l1_beta"],
    )
    c.check("loss", loss)


def test_frozen_norm_with_and_without_gradient(case):
    c = case("frozen_bn")
    norm = FrozenBatchNorm2d(6)
    assert list(norm.state_dict()) == c.info["state_keys"]
    assert norm.running_var[0].item() == c.info["default_running_var"]
    norm.load_state_dict({name: c.input(name) for name in c.info["state_keys"]})
    c.check("y", norm(c.input("x").requires_grad_()))
    c.check("y_no_grad_path", norm(c.input("x")))


def test_group_norm_has_32_groups(case):
    c = case("gn")
    norm = get_norm("GN", 64)
    norm.load_state_dict({"weight": c.input("weight"), "bias": c.input("bias")})
    c.check("y", norm(c.input("x")))


def test_detections_in_the_size_that_was_asked_for(case):
    c = case("detector_postprocess")
    detections = Instances(
        tuple(c.info["input_hw"]),
        pred_boxes=Boxes(c.input("boxes")),
        scores=c.input("scores"),
        pred_classes=torch.arange(8),
        pred_masks=c.input("mask_probs"),
        pred_keypoints=c.input("keypoints"),
    )
    result = detector_postprocess(detections, *c.info["output_hw"])
    assert result.image_size == tuple(c.info["output_hw"])
    c.check("boxes", result.pred_boxes.tensor)
    c.check("scores", result.scores)
    c.check("classes", result.pred_classes)
    c.check("keypoints", result.pred_keypoints)
    assert result.pred_masks.dtype == torch.bool
    assert list(result.pred_masks.shape) == c.arrays["out/masks_shape"].tolist()
    packed = np.packbits(result.pred_masks.numpy().flatten())
    different = np.unpackbits(packed ^ c.arrays["out/masks_packbits"]).sum()
    assert different <= 4 * 7
    # The network's own detections stay as they were.
    assert torch.equal(detections.pred_boxes.tensor, torch.from_numpy(c.arrays["in/boxes"]))
