"""Anchors, box coding, matching, pooling and proposals: properties, empty and refused input.

Rows D2-611, D2-614, D2-618 to D2-621, D2-624 to D2-627, D2-638 to D2-643, D2-675.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from okulo_core.structures import Boxes, Instances
from okulo_modeling.anchors import DefaultAnchorGenerator, DefaultAnchorGeneratorConfig
from okulo_modeling.box_regression import Box2BoxTransform, box_regression_loss
from okulo_modeling.layers.shape_spec import ShapeSpec
from okulo_modeling.matcher import Matcher
from okulo_modeling.poolers import ROIPooler, assign_boxes_to_levels
from okulo_modeling.postprocessing import detector_postprocess
from okulo_modeling.proposal_utils import add_ground_truth_to_proposals, find_top_rpn_proposals
from okulo_modeling.roi_heads.box_head import FastRCNNConvFCHead
from okulo_modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers, fast_rcnn_inference
from okulo_modeling.rpn import RPNConfig, StandardRPNHead
from okulo_modeling.sampling import subsample_labels

UNIT = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))


def test_anchor_grid_by_loops():
    generator = DefaultAnchorGenerator(
        sizes=[16, 32], aspect_ratios=[0.5, 2], strides=[8], offset=0.25
    )
    anchors = generator([torch.zeros(2, 5, 2, 3)])[0].tensor
    expected = []
    for row in range(2):
        for column in range(3):
            x, y = (column + 0.25) * 8, (row + 0.25) * 8
            for size in (16, 32):
                for ratio in (0.5, 2):
                    w, h = size / math.sqrt(ratio), size * math.sqrt(ratio)
                    expected.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    torch.testing.assert_close(anchors, torch.tensor(expected))


def test_wrong_anchor_settings_are_refused():
    with pytest.raises(ValueError, match="each of 3 levels"):
        DefaultAnchorGenerator(sizes=[[1], [2]], aspect_ratios=[1], strides=[4, 8, 16])
    with pytest.raises(ValueError, match="below 1, got 1"):
        DefaultAnchorGenerator(sizes=[1], aspect_ratios=[1], strides=[4], offset=1.0)
    with pytest.raises(ValueError, match="got 2 feature maps"):
        DefaultAnchorGenerator(sizes=[1], aspect_ratios=[1], strides=[4])([torch.zeros(1)] * 2)


coordinate = st.floats(0, 500, width=32)
side = st.floats(2, 200, width=32)
box = st.tuples(coordinate, coordinate, side, side).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


@settings(max_examples=50, deadline=None)
@given(pairs=st.lists(st.tuples(box, box), max_size=8), weight=st.floats(0.5, 20))
def test_deltas_lead_back_to_the_target(pairs, weight):
    src = torch.tensor([p[0] for p in pairs], dtype=torch.float64).reshape(-1, 4)
    target = torch.tensor([p[1] for p in pairs], dtype=torch.float64).reshape(-1, 4)
    transform = Box2BoxTransform((weight, weight, weight / 2, weight / 2), scale_clamp=10.0)
    back = transform.apply_deltas(transform.get_deltas(src, target), src)
    torch.testing.assert_close(back, target, rtol=1e-9, atol=1e-9)


def test_source_boxes_need_a_width():
    flat = torch.tensor([[3.0, 3.0, 3.0, 9.0]])
    with pytest.raises(ValueError, match=r"positive width, got \[3\.0, 3\.0, 3\.0, 9\.0\]"):
        UNIT.get_deltas(flat, flat)


def test_half_precision_deltas_are_decoded_in_float32():
    deltas = torch.zeros(2, 8, dtype=torch.bfloat16)
    boxes = torch.tensor([[500.3, 1.0, 700.7, 5.0]] * 2)
    decoded = UNIT.apply_deltas(deltas, boxes)
    torch.testing.assert_close(decoded, boxes.repeat(1, 2))


def test_unknown_box_loss_lists_the_known():
    nothing = torch.zeros(0, 4)
    with pytest.raises(ValueError, match="'smooth_l1', 'giou', 'diou', 'ciou'"):
        box_regression_loss(nothing, nothing, nothing, UNIT, box_reg_loss_type="iou")


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        (([0.7, 0.3], [0, -1, 1]), "ascending"),
        (([0.0, 0.3], [0, -1, 1]), "positive"),
        (([0.3], [0, -1, 1]), "need 2 labels"),
        (([0.3], [0, 2]), "must be -1"),
    ],
)
def test_wrong_matchers_are_refused(settings_, message):
    with pytest.raises(ValueError, match=message):
        Matcher(*settings_)


def test_negative_qualities_are_refused_and_the_callers_list_stays():
    thresholds = [0.3, 0.7]
    matcher = Matcher(thresholds, [0, -1, 1])
    assert thresholds == [0.3, 0.7]
    with pytest.raises(ValueError, match="not be negative"):
        matcher(torch.tensor([[-0.1, 0.2]]))
    assert matcher(torch.zeros(3, 0))[0].shape == (0,)


def test_sampling_fills_up_with_negatives_and_never_takes_the_ignored():
    labels = torch.tensor([-1] * 50 + [7] * 3 + [1] * 100)
    positive, negative = subsample_labels(labels, 20, 0.5, bg_label=1)
    assert (len(positive), len(negative)) == (3, 17)
    assert set(labels[positive].tolist()) == {7}
    assert set(labels[negative].tolist()) == {1}
    assert len(set(negative.tolist())) == 17


def make_pooler(**kwargs) -> ROIPooler:
    defaults = {"output_size": 2, "scales": [1 / 4, 1 / 8], "sampling_ratio": 2}
    return ROIPooler(**{**defaults, "pooler_type": "ROIAlignV2", **kwargs})


def test_pooled_features_follow_the_order_of_the_boxes():
    """On maps that hold their own coordinates, the mean of a pooled box is its centre."""
    boxes = [
        Boxes([[8.0, 8.0, 300.0, 280.0], [40.0, 24.0, 72.0, 56.0], [16.0, 16.0, 288.0, 304.0]]),
        Boxes([[64.0, 64.0, 96.0, 128.0]]),
    ]
    maps = []
    for stride in (4, 8):
        at = (torch.arange(320 // stride) + 0.5) * stride
        y, x = torch.meshgrid(at, at, indexing="ij")
        maps.append(torch.stack((x, y)).expand(2, -1, -1, -1))
    pooled = make_pooler(canonical_box_size=112, canonical_level=2)(maps, boxes)
    assert len(set(assign_boxes_to_levels(boxes, 2, 3, 112, 2).tolist())) == 2
    centres = torch.cat([b.get_centers() for b in boxes])
    torch.testing.assert_close(pooled.mean(dim=(2, 3)), centres, rtol=0, atol=1e-3)


def test_gradient_of_pooling_is_that_of_the_operator():
    maps = [torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    boxes = [Boxes([[2.0, 2.0, 20.0, 20.0], [0.0, 0.0, 31.0, 31.0], [4.0, 4.0, 12.0, 9.0]])]
    pooler = make_pooler(canonical_box_size=24, canonical_level=3, scales=[1 / 4, 1 / 8])
    assert torch.autograd.gradcheck(lambda *m: pooler(list(m), boxes), maps)


def test_pooling_no_boxes():
    maps = [torch.rand(2, 3, 8, 8), torch.rand(2, 3, 4, 4)]
    empty = Boxes(torch.zeros(0, 4))
    assert make_pooler()(maps, [empty, empty]).shape == (0, 3, 2, 2)
    assert make_pooler()([m[:0] for m in maps], []).shape == (0, 3, 2, 2)
    assert make_pooler(scales=[1 / 4])(maps[:1], [empty, empty]).shape == (0, 3, 2, 2)


def test_wrong_poolers_are_refused():
    with pytest.raises(ValueError, match="powers of two"):
        make_pooler(scales=[1 / 4, 1 / 16])
    with pytest.raises(ValueError, match="powers of two"):
        make_pooler(scales=[1 / 6, 1 / 12])
    with pytest.raises(ValueError, match="'ROIAlign', 'ROIAlignV2'"):
        make_pooler(pooler_type="ROIPool")
    maps = [torch.rand(1, 3, 8, 8), torch.rand(1, 3, 4, 4)]
    with pytest.raises(ValueError, match="2 levels, got 1 maps"):
        make_pooler()(maps[:1], [Boxes(torch.zeros(0, 4))])
    with pytest.raises(ValueError, match="boxes of 2 images for 1 images"):
        make_pooler()(maps, [Boxes(torch.zeros(0, 4))] * 2)


def proposals(*boxes: list[float]) -> Instances:
    logits = torch.arange(len(boxes), dtype=torch.float32)
    return Instances((50, 60), proposal_boxes=Boxes(list(boxes)), objectness_logits=logits)


def test_truth_joins_the_proposals_with_an_objectness_that_none_beats():
    truth = Instances((50, 60), gt_boxes=Boxes([[1.0, 2.0, 3.0, 4.0]]))
    joined = add_ground_truth_to_proposals([truth], [proposals([5.0, 5.0, 9.0, 9.0])])[0]
    assert joined.proposal_boxes.tensor.tolist() == [[5.0, 5.0, 9.0, 9.0], [1.0, 2.0, 3.0, 4.0]]
    assert joined.objectness_logits[1].item() == pytest.approx(23.02585, abs=1e-3)
    assert sorted(joined.get_fields()) == ["objectness_logits", "proposal_boxes"]
    assert add_ground_truth_to_proposals([], []) == []
    with pytest.raises(ValueError, match="truth of 1 images and proposals of 0"):
        add_ground_truth_to_proposals([truth], [])
    odd = proposals([5.0, 5.0, 9.0, 9.0])
    odd.extra = torch.zeros(1)
    with pytest.raises(ValueError, match="extra"):
        add_ground_truth_to_proposals([truth], [odd])


def test_levels_do_not_suppress_each_other_but_share_the_limit():
    same = torch.tensor([[[2.0, 2.0, 30.0, 30.0]]])
    arguments = {"image_sizes": [(50, 60)], "nms_thresh": 0.5, "pre_nms_topk": 5}
    arguments |= {"min_box_size": 0, "training": False}
    levels = [torch.cat((same, same + 1), dim=1), same]
    logits = [torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0]])]
    found = find_top_rpn_proposals(levels, logits, post_nms_topk=5, **arguments)[0]
    assert found.objectness_logits.tolist() == [3.0, 2.0]
    found = find_top_rpn_proposals(levels, logits, post_nms_topk=1, **arguments)[0]
    assert found.objectness_logits.tolist() == [3.0]


def test_anchors_beyond_the_border_are_ignored_when_asked():
    generator = DefaultAnchorGeneratorConfig(sizes=((16.0,),), aspect_ratios=((1.0,),))
    config = RPNConfig(in_features=("p2",), anchor_generator=generator, anchor_boundary_thresh=0.0)
    rpn = config.build({"p2": ShapeSpec(channels=4, stride=4)})
    anchors = rpn.anchor_generator([torch.zeros(1, 4, 10, 10)])
    truth = Instances((40, 40), gt_boxes=Boxes([[0.0, 0.0, 16.0, 16.0]]))
    labels, boxes = rpn.label_and_sample_anchors(anchors, [truth], [(40, 40)])
    inside = anchors[0].inside_box((40, 40), 0.0)
    assert (labels[0][~inside] == -1).all()
    assert anchors[0].tensor[labels[0] == 1].tolist() == [[0.0, 0.0, 16.0, 16.0]]
    assert boxes[0].shape == (100, 4)


def test_rpn_head_with_several_convolutions():
    head = StandardRPNHead(in_channels=4, num_anchors=3, conv_dims=[8, -1])
    names = [name for name, _ in head.named_parameters() if name.endswith("weight")]
    assert names[:2] == ["conv.conv0.weight", "conv.conv1.weight"]
    logits, deltas = head([torch.rand(2, 4, 5, 6)])
    assert logits[0].shape == (2, 3, 5, 6)
    assert deltas[0].shape == (2, 12, 5, 6)
    with pytest.raises(ValueError, match="positive or -1"):
        StandardRPNHead(in_channels=4, num_anchors=3, conv_dims=[0])


def test_rpn_refuses_levels_that_cannot_share_a_head():
    shapes = {f"p{k}": ShapeSpec(channels=4 * k, stride=2**k) for k in range(2, 7)}
    with pytest.raises(ValueError, match="equal channels"):
        RPNConfig().build(shapes)
    with pytest.raises(ValueError, match=r"\['p6'\] are no outputs"):
        RPNConfig().build({k: v for k, v in shapes.items() if k != "p6"})


def test_box_head_with_convolutions():
    shape = ShapeSpec(channels=4, height=3, width=5)
    head = FastRCNNConvFCHead(shape, conv_dims=[8, 8], fc_dims=[6], conv_norm="BN")
    assert head.conv1.bias is None
    assert head.fc1.weight.shape == (6, 8 * 3 * 5)
    assert head.output_shape == ShapeSpec(channels=6)
    assert head(torch.rand(2, 4, 3, 5)).shape == (2, 6)
    assert head(torch.zeros(0, 4, 3, 5)).shape == (0, 6)
    assert FastRCNNConvFCHead(shape, conv_dims=[8], fc_dims=[]).output_shape.width == 5
    with pytest.raises(ValueError, match="at least one layer"):
        FastRCNNConvFCHead(shape, conv_dims=[], fc_dims=[])


def make_predictor(**kwargs) -> FastRCNNOutputLayers:
    return FastRCNNOutputLayers(6, box2box_transform=UNIT, num_classes=3, **kwargs)


@pytest.mark.parametrize("agnostic", [False, True])
def test_losses_of_the_box_predictor_by_loops(agnostic):
    predictor = make_predictor(cls_agnostic_bbox_reg=agnostic, loss_weight={"loss_box_reg": 2.0})
    sampled = proposals([0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 25.0, 15.0], [1.0, 1.0, 4.0, 9.0])
    sampled.gt_classes = torch.tensor([2, 3, 0])
    sampled.gt_boxes = Boxes([[1.0, 0.0, 9.0, 12.0], [0.0, 0.0, 1.0, 1.0], [1.0, 2.0, 5.0, 9.0]])
    logits, deltas = torch.randn(3, 4), torch.randn(3, 4 if agnostic else 12)
    losses = predictor.losses((logits, deltas), [sampled])

    log_probs = logits.double().log_softmax(dim=1)
    cls = -sum(log_probs[i, k] for i, k in enumerate([2, 3, 0])) / 3
    assert losses["loss_cls"].item() == pytest.approx(cls.item(), rel=1e-5)
    total = 0.0
    for i, k in ((0, 2), (2, 0)):
        src, gt = sampled.proposal_boxes.tensor[i].tolist(), sampled.gt_boxes.tensor[i].tolist()
        w, h, gw, gh = src[2] - src[0], src[3] - src[1], gt[2] - gt[0], gt[3] - gt[1]
        target = [(gt[0] + gw / 2 - src[0] - w / 2) / w, (gt[1] + gh / 2 - src[1] - h / 2) / h]
        target += [math.log(gw / w), math.log(gh / h)]
        own = deltas[i] if agnostic else deltas[i, 4 * k : 4 * k + 4]
        total += sum(abs(a - b) for a, b in zip(own.tolist(), target, strict=True))
    assert losses["loss_box_reg"].item() == pytest.approx(2.0 * total / 3, rel=1e-5)


def test_boxes_of_the_true_classes():
    predictor, sampled = make_predictor(), proposals([0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 9.0, 9.0])
    sampled.gt_classes = torch.tensor([1, 3])
    predictions = (torch.zeros(2, 4), torch.arange(24.0).reshape(2, 12) / 100)
    boxes = predictor.predict_boxes(predictions, [sampled])[0]
    chosen = predictor.predict_boxes_for_gt_classes(predictions, [sampled])[0]
    torch.testing.assert_close(chosen[0], boxes[0, 4:8])
    torch.testing.assert_close(chosen[1], boxes[1, 8:12])  # background: the last class
    assert predictor.predict_boxes(predictions, []) == []
    assert predictor.predict_boxes_for_gt_classes(predictions, []) == []


def test_detections_leave_out_what_is_not_finite_and_keep_all_below_zero():
    boxes = torch.tensor(
        [[0.0, 0.0, 9.0, 9.0], [1.0, 0.0, math.nan, 9.0], [20.0, 20.0, 99.0, 30.0]]
    )
    scores = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7]])
    found, rows = fast_rcnn_inference([boxes], [scores], [(50, 60)], 0.3, 0.5, -1)
    assert rows[0].tolist() == [0]  # a score equal to the threshold does not pass
    found, rows = fast_rcnn_inference([boxes], [scores], [(50, 60)], 0.2, 0.5, -1)
    assert found[0].pred_boxes.tensor.tolist() == [[0.0, 0.0, 9.0, 9.0], [20.0, 20.0, 60.0, 30.0]]
    empty = torch.zeros(0, 4), torch.zeros(0, 2)
    assert len(fast_rcnn_inference([empty[0]], [empty[1]], [(5, 6)], 0.1, 0.5, 10)[0][0]) == 0


def test_postprocessing_drops_empty_boxes_and_needs_boxes():
    results = Instances((10, 10), pred_boxes=Boxes([[1.0, 1.0, 5.0, 5.0], [3.0, 3.0, 3.0, 9.0]]))
    scaled = detector_postprocess(results, 20, 30)
    assert scaled.image_size == (20, 30)
    assert scaled.pred_boxes.tensor.tolist() == [[3.0, 2.0, 15.0, 10.0]]
    proposal = proposals([0.0, 0.0, 60.0, 50.0])
    assert detector_postprocess(proposal, 25, 30).proposal_boxes.tensor.tolist() == [
        [0.0, 0.0, 30.0, 25.0]
    ]
    with pytest.raises(ValueError, match="need pred_boxes or proposal_boxes"):
        detector_postprocess(Instances((10, 10), scores=torch.zeros(1)), 20, 30)
