"""Faster R-CNN against numbers recorded from detectron2 (golden README, sections 2, 3, 4 and 9).

Rows D2-611, D2-620, D2-624 to D2-626, D2-630, D2-631, D2-635, D2-638 to D2-643, D2-655 to D2-658,
D2-675 and sections 22 (names of losses and scalars) and 23 (state dict).
"""

import attrs
import numpy as np
import pytest
import torch

from okulo_core.events import EventStorage
from okulo_core.structures import Boxes, Instances
from okulo_modeling.backbones.fpn import FPNConfig
from okulo_modeling.backbones.resnet import ResNetConfig
from okulo_modeling.detectors.generalized_rcnn import FasterRCNNConfig, GeneralizedRCNN
from okulo_modeling.roi_heads.fast_rcnn import FastRCNNOutputLayersConfig
from okulo_modeling.roi_heads.standard import StandardROIHeadsConfig
from okulo_modeling.rpn import RPNConfig

pytestmark = pytest.mark.shared

DEPTHS = (18, 34, 50)
INFERENCE = FasterRCNNConfig(proposal_generator=RPNConfig(post_nms_topk=(1000, 300)))


def build(depth: int, config: FasterRCNNConfig = INFERENCE) -> GeneralizedRCNN:
    backbone = FPNConfig(bottom_up=ResNetConfig(depth=depth))
    return attrs.evolve(config, backbone=backbone).build()


def samples_of(tensor: torch.Tensor) -> np.ndarray:
    flat = tensor.detach().double().flatten().numpy()
    if flat.size <= 64:
        return flat
    return flat[[k * (flat.size - 1) // 63 for k in range(64)]]


def assert_stat_triple(name: str, tensor: torch.Tensor, stored: dict, tolerance: float = 1e-4):
    assert list(tensor.shape) == stored[f"{name}/shape"].tolist(), name
    largest = stored[f"{name}/mean_std_absmax"][2]
    values = tensor.detach().double()
    stats = [values.mean(), values.std(correction=0), values.abs().max()]
    np.testing.assert_allclose(
        stats, stored[f"{name}/mean_std_absmax"], rtol=0, atol=tolerance * largest, err_msg=name
    )
    np.testing.assert_allclose(
        samples_of(tensor), stored[f"{name}/sample"], rtol=0, atol=tolerance * largest, err_msg=name
    )


def unmatched(result: Instances, prefix: str, stored: dict) -> int:
    """Stored detections without a partner of their class within 0.02 px and a score of 5e-4."""
    free = [True] * len(result)
    missing = 0
    for box, score, label in zip(
        stored[f"{prefix}/pred_boxes"],
        stored[f"{prefix}/scores"],
        stored[f"{prefix}/pred_classes"],
        strict=True,
    ):
        close = (result.pred_boxes.tensor.numpy() - box).__abs__().max(axis=1) <= 0.02
        close &= np.abs(result.scores.numpy() - score) <= 5e-4
        close &= result.pred_classes.numpy() == label
        partners = np.flatnonzero(close & free)
        if len(partners):
            free[partners[0]] = False
        else:
            missing += 1
    return missing


def assert_same_detections(result: Instances, prefix: str, stored: dict) -> None:
    assert list(result.image_size) == stored[f"{prefix}/image_size"].tolist()
    count = len(stored[f"{prefix}/scores"])
    assert len(result) == count
    assert unmatched(result, prefix, stored) <= 0.01 * count
    assert (result.scores.diff() <= 0).all()


@pytest.mark.parametrize("depth", DEPTHS)
def test_names_and_shapes_of_parameters_are_detectron2s(depth, golden):
    expected = golden(f"state_dicts/faster_rcnn_R{depth}_FPN.json")
    state = build(depth).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == expected


@pytest.fixture(params=DEPTHS)
def recorded(request, golden, fill_by_recipe):
    name = f"models/faster_rcnn_R{request.param}_FPN"
    info, stored = golden(f"{name}.json"), golden(f"{name}.npz")
    model = build(request.param).eval()
    checksum = fill_by_recipe(model, info["extra_multipliers"])
    assert checksum == pytest.approx(info["checksum"], rel=1e-9)
    return model, stored


def test_inference_gives_detectron2s_numbers(recorded, golden_inputs):
    model, stored = recorded
    with torch.no_grad():
        images = model.preprocess_image(golden_inputs)
        features = model.backbone(images.tensor)
        for name, feature in features.items():
            assert_stat_triple(f"backbone/{name}", feature, stored)
        for name, feature in model.backbone.bottom_up(images.tensor).items():
            assert_stat_triple(f"backbone.bottom_up/{name}", feature, stored)
        check_rpn(model, list(features.values()), stored)
        proposals, _ = model.proposal_generator(images, features)
        check_proposals(proposals, stored)
        check_given_proposals(model, features, stored)
        check_box_predictor(model, features, proposals, stored)
    for i, result in enumerate(model.inference(golden_inputs, do_postprocess=False)):
        assert_same_detections(result, f"raw/{i}", stored)
    for i, output in enumerate(model(golden_inputs)):
        assert_same_detections(output["instances"], f"final/{i}", stored)


def check_rpn(model, maps, stored) -> None:
    logits, deltas = model.proposal_generator.rpn_head(maps)
    anchors = model.proposal_generator.anchor_generator(maps)
    for level in range(len(maps)):
        assert_stat_triple(f"rpn_head/logits{level}", logits[level], stored)
        assert_stat_triple(f"rpn_head/deltas{level}", deltas[level], stored)
        assert_stat_triple(f"anchors/{level}", anchors[level].tensor, stored, 1e-5)
        first = anchors[level].tensor[:12].numpy()
        np.testing.assert_allclose(first, stored[f"anchors/{level}/first12"], rtol=1e-5, atol=1e-5)


def check_proposals(proposals, stored) -> None:
    for i, found in enumerate(proposals):
        assert len(found) == stored[f"proposals/{i}/count"]
        assert list(found.image_size) == stored[f"proposals/{i}/image_size"].tolist()
        boxes = found.proposal_boxes.tensor.numpy()
        expected = stored[f"proposals/{i}/proposal_boxes"]
        distance = np.abs(boxes[:60, None] - expected[None]).max(axis=2)
        assert (distance.min(axis=0) <= 0.02).mean() >= 0.99
        assert (found.objectness_logits.diff() <= 0).all()


def check_given_proposals(model, features, stored) -> None:
    proposals = []
    for i in range(2):
        size = tuple(stored[f"proposals/{i}/image_size"].tolist())
        boxes = torch.from_numpy(stored[f"proposals/{i}/proposal_boxes"][:20])
        proposals.append(Instances(size, proposal_boxes=Boxes(boxes)))
    heads = model.roi_heads
    logits, deltas = predictions_for(heads, features, proposals)
    for name, values in (("cls_logits", logits), ("bbox_deltas_first16_columns", deltas[:, :16])):
        expected = stored[f"given20/box_predictor/{name}"]
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(values.numpy(), expected, rtol=0, atol=atol)
    for i, result in enumerate(heads(features, proposals)[0]):
        assert_same_detections(result, f"given20/{i}", stored)


def check_box_predictor(model, features, proposals, stored) -> None:
    logits, deltas = predictions_for(model.roi_heads, features, proposals)
    # Statistics over all proposals: their order, which is sensitive, does not matter.
    for name, values in (("cls_logits", logits), ("bbox_deltas", deltas)):
        expected = stored[f"box_predictor/{name}/mean_std_absmax"]
        stats = [values.double().mean(), values.double().std(correction=0)]
        np.testing.assert_allclose(stats, expected[:2], rtol=0, atol=1e-4 * expected[2])


def predictions_for(heads, features, proposals):
    maps = [features[name] for name in heads.box_in_features]
    pooled = heads.box_pooler(maps, [p.proposal_boxes for p in proposals])
    return heads.box_predictor(heads.box_head(pooled))


def with_truth(samples: list[dict], truth: dict, num_classes: int) -> list[dict]:
    for i, sample in enumerate(samples):
        boxes = torch.tensor([t["box"] for t in truth[str(i)]])
        classes = torch.tensor([(7 * k + 3 * i) % num_classes for k in range(len(boxes))])
        size = tuple(sample["image"].shape[1:])
        sample["instances"] = Instances(size, gt_boxes=Boxes(boxes), gt_classes=classes)
    return samples


def train_config(rpn_loss: dict, box_loss: dict) -> FasterRCNNConfig:
    """As recorded: every labelled anchor and proposal is used, so nothing is left to chance."""
    return FasterRCNNConfig(
        proposal_generator=RPNConfig(
            batch_size_per_image=20000, post_nms_topk=(200, 300), **rpn_loss
        ),
        roi_heads=StandardROIHeadsConfig(
            batch_size_per_image=4000, box_predictor=FastRCNNOutputLayersConfig(**box_loss)
        ),
    )


GIOU = (
    {"box_reg_loss_type": "giou", "bbox_reg_loss_weight": 2.0},
    {"box_reg_loss_type": "giou", "bbox_reg_loss_weight": 10.0},
)


@pytest.mark.parametrize(
    ("fixture", "loss_settings"),
    [("faster_rcnn_R50_FPN", ({}, {})), ("faster_rcnn_R50_FPN_giou", GIOU)],
    ids=["smooth_l1", "giou"],
)
def test_losses_scalars_and_gradients_are_detectron2s(
    fixture, loss_settings, golden, golden_inputs, fill_by_recipe
):
    info, stored = golden(f"train/{fixture}.json"), golden(f"train/{fixture}.npz")
    model = build(50, train_config(*loss_settings)).train()
    fill_by_recipe(model, info["extra_multipliers"])
    batch = with_truth(golden_inputs, golden("train/ground_truth_80_classes.json"), 80)
    with EventStorage() as storage:
        losses = model(batch)
    sum(losses.values()).backward()

    assert {k: v.item() for k, v in losses.items()} == pytest.approx(info["losses"], rel=1e-4)
    scalars = {name: value for name, (value, _) in storage.latest().items()}
    assert scalars == pytest.approx(info["logged_scalars"], rel=1e-6)
    check_gradients(dict(model.named_parameters()), info, stored)


def check_gradients(parameters, info, stored) -> None:
    frozen = sorted(name for name, p in parameters.items() if p.grad is None)
    assert frozen == sorted(info["frozen"])
    norms = {name: parameters[name].grad.norm().item() for name in info["grad_l2_norms"]}
    assert norms == pytest.approx(info["grad_l2_norms"], rel=2e-3)
    for key in (k for k in stored if k.startswith("grad/")):
        grad = parameters[key.removeprefix("grad/").removesuffix("/sample")].grad
        atol = 1e-2 * grad.abs().max().item()
        np.testing.assert_allclose(samples_of(grad), stored[key], rtol=0, atol=atol, err_msg=key)
