"""Faster R-CNN as a whole: training, inference, bad input, precision, configuration.

Rows D2-625 (empty truth, diverged), D2-626, D2-631, D2-635, D2-641, D2-643, D2-655 to D2-658.
"""

import copy

import pytest
import torch

from okulo_core.catalog import Catalog
from okulo_core.config import structure, unstructure
from okulo_core.structures import Boxes, ImageList, Instances, pairwise_iou
from okulo_core.testing import check_component
from okulo_modeling.anchors import DefaultAnchorGeneratorConfig
from okulo_modeling.backbones.fpn import FPNConfig, LastLevelMaxPoolConfig, LastLevelP6P7Config
from okulo_modeling.backbones.resnet import ResNetConfig
from okulo_modeling.detectors.generalized_rcnn import FasterRCNNConfig, GeneralizedRCNN
from okulo_modeling.layers.shape_spec import ShapeSpec
from okulo_modeling.plugin import okulo_components
from okulo_modeling.roi_heads.box_head import FastRCNNConvFCHeadConfig
from okulo_modeling.roi_heads.fast_rcnn import FastRCNNOutputLayersConfig
from okulo_modeling.roi_heads.standard import StandardROIHeadsConfig
from okulo_modeling.rpn import RPNConfig

LOSSES = ["loss_box_reg", "loss_cls", "loss_rpn_cls", "loss_rpn_loc"]


def small(**resnet) -> FasterRCNNConfig:
    """R18-FPN, narrow everywhere."""
    narrow = {"stem_out_channels": 32, "res2_out_channels": 32}
    settings = {"depth": 18, "norm": "BN", "freeze_at": 0, **narrow, **resnet}
    backbone = FPNConfig(bottom_up=ResNetConfig(**settings), out_channels=32, norm=settings["norm"])
    return FasterRCNNConfig(
        num_classes=3,
        backbone=backbone,
        proposal_generator=RPNConfig(pre_nms_topk=(200, 100), post_nms_topk=(50, 50)),
        roi_heads=StandardROIHeadsConfig(
            batch_size_per_image=32, box_head=FastRCNNConvFCHeadConfig(fc_dims=(32, 32))
        ),
        pixel_std=(57.375, 57.12, 58.395),
    )


def build(**resnet) -> GeneralizedRCNN:
    torch.manual_seed(0)
    return small(**resnet).build()


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog([("okulo-modeling", component) for component in okulo_components()])


def test_every_parameter_learns_from_images_of_different_sizes(tiny_batch):
    model = build()
    losses = model(tiny_batch((64, 96), (80, 64)))
    assert sorted(losses) == LOSSES
    assert all(loss.shape == () for loss in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("objects", [(0, 2), (0, 0)])
def test_images_without_objects_train(objects, tiny_batch):
    model = build()
    losses = model(tiny_batch((64, 96), (80, 64), objects=objects))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    if objects == (0, 0):
        assert losses["loss_box_reg"] == 0
        assert losses["loss_rpn_loc"] == 0
    assert model.roi_heads.box_predictor.bbox_pred.weight.grad is not None


def test_a_true_box_without_area_marks_no_anchor(tiny_batch):
    model = build()
    batch = tiny_batch((64, 96), objects=(1,))
    batch[0]["instances"].gt_boxes = Boxes([[20.0, 20.0, 20.0, 40.0]])
    losses = model(batch)
    assert losses["loss_rpn_loc"] == 0
    assert all(loss.isfinite() for loss in losses.values())


def test_training_overfits_one_image():
    """The whole chain learns: after a few steps a bright square is found."""
    model = build()
    samples = []
    for left in (16, 32):
        image = torch.zeros(3, 96, 96)
        image[:, 24:72, left : left + 48] = 255
        box = Boxes([[left, 24.0, left + 48, 72.0]])
        truth = Instances((96, 96), gt_boxes=box, gt_classes=torch.tensor([2]))
        samples.append({"image": image, "instances": truth})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(60):
        optimizer.zero_grad()
        sum(model(samples).values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    use_statistics_of(model, samples)
    for sample, output in zip(samples, model.eval()(samples), strict=True):
        best = output["instances"][0]
        assert best.pred_classes.item() == 2
        assert pairwise_iou(best.pred_boxes, sample["instances"].gt_boxes).item() > 0.5


def use_statistics_of(model: GeneralizedRCNN, samples: list[dict]) -> None:
    """Sixty steps are too few for the running averages of batch norm: count them anew."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        model(samples)


def test_detections_refer_to_the_size_that_was_asked_for(tiny_batch):
    model = build().eval()
    model.roi_heads.box_predictor.test_score_thresh = 0.0
    samples = [{"image": s["image"]} for s in tiny_batch((64, 96), (80, 64))]
    raw = model.inference(samples, do_postprocess=False)
    samples[0] |= {"height": 128, "width": 48}
    scaled = [output["instances"] for output in model(samples)]
    assert [r.image_size for r in raw] == [(64, 96), (80, 64)]
    assert [r.image_size for r in scaled] == [(128, 48), (80, 64)]
    assert len(raw[0]) > 0
    expected = raw[0].pred_boxes.tensor * torch.tensor([0.5, 2.0, 0.5, 2.0])
    torch.testing.assert_close(scaled[0].pred_boxes.tensor, expected)
    assert not scaled[0].scores.requires_grad


def test_batches_and_single_images_agree(tiny_batch):
    model = build().eval()
    model.roi_heads.box_predictor.test_score_thresh = 0.0
    samples = tiny_batch((64, 96), (64, 96))
    together = model(samples)
    for sample, expected in zip(samples, together, strict=True):
        alone = model([sample])[0]["instances"]
        boxes = expected["instances"].pred_boxes.tensor
        assert len(alone) == len(boxes)
        torch.testing.assert_close(alone.pred_boxes.tensor, boxes, rtol=0, atol=1e-2)


def test_proposals_may_come_with_the_samples(tiny_batch):
    model = build()
    model.proposal_generator = None
    samples = tiny_batch((64, 96))
    with pytest.raises(ValueError, match="'proposals' in every sample"):
        model(samples)
    boxes = Boxes([[4.0, 4.0, 40.0, 40.0], [0.0, 0.0, 96.0, 64.0]])
    samples[0]["proposals"] = Instances(
        (64, 96), proposal_boxes=boxes, objectness_logits=torch.zeros(2)
    )
    assert sorted(model(samples)) == LOSSES[:2]
    assert len(model.eval()(samples)) == 1


@pytest.mark.parametrize("truth", ["absent", None])
def test_training_without_instances_says_what_to_do(truth, tiny_batch):
    samples = tiny_batch((64, 96), (64, 96))
    samples[1] |= {"image_id": 77, "instances": None}
    if truth == "absent":
        del samples[1]["instances"]
    with pytest.raises(ValueError, match=r"sample 1 \(image 77\).*model\.eval\(\)"):
        build()(samples)


def test_a_label_beyond_the_classes_is_refused(tiny_batch):
    samples = tiny_batch((64, 96))
    samples[0]["instances"].gt_classes = torch.tensor([0, 3])
    with pytest.raises(ValueError, match=r"must be in 0\.\.2, got \[0, 3\].*num_classes=3"):
        build()(samples)


def test_a_true_box_that_is_not_finite_is_refused(tiny_batch):
    samples = tiny_batch((64, 96))
    samples[0]["instances"].gt_boxes.tensor[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"gt_boxes of sample 0 .* NaN"):
        build()(samples)


@pytest.mark.parametrize("image", [torch.zeros(64, 96), torch.zeros(1, 64, 96), None])
def test_an_image_of_another_shape_is_refused(image, tiny_batch):
    samples = tiny_batch((64, 96))
    samples[0]["image"] = image
    with pytest.raises(ValueError, match=r"must be a tensor \(3, H, W\), got"):
        build().eval()(samples)


def test_inference_in_training_mode_is_refused(tiny_batch):
    with pytest.raises(RuntimeError, match=r"call model\.eval\(\)"):
        build().inference(tiny_batch((64, 96)))


def test_diverged_training_is_an_error(tiny_batch):
    model = build()
    with torch.no_grad():
        model.proposal_generator.rpn_head.anchor_deltas.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="training has diverged"):
        model(tiny_batch((64, 96)))
    assert len(model.eval()(tiny_batch((64, 96)))[0]["instances"]) == 0


@pytest.mark.parametrize("norm", ["FrozenBN", "BN", "SyncBN", "GN", ""])
def test_norms(norm, tiny_batch):
    losses = build(norm=norm)(tiny_batch((64, 64), (64, 64)))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())


def test_same_seed_gives_the_same_bits(tiny_batch):
    def gradients() -> list[torch.Tensor]:
        model = build()
        sum(model(tiny_batch((64, 96), (80, 64))).values()).backward()
        return [parameter.grad for parameter in model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))


def test_bfloat16_autocast_trains_and_infers(tiny_batch):
    model, samples = build(), tiny_batch((64, 96), (80, 64))
    torch.manual_seed(1)
    full = sum(copy.deepcopy(model)(samples).values()).item()
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(samples)
        assert all(loss.dtype == torch.float32 for loss in losses.values())
    sum(losses.values()).backward()
    assert sum(losses.values()).item() == pytest.approx(full, rel=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = model.eval()(samples)[0]["instances"]
    assert result.pred_boxes.tensor.dtype == torch.float32


def test_model_tells_its_device_and_classes():
    model = build()
    assert model.device == torch.device("cpu")
    assert model.num_classes == 3
    assert not [name for name in model.state_dict() if "pixel" in name or "anchor_gen" in name]


def test_configurations_compose_in_python_and_as_data(catalog):
    config = FasterRCNNConfig(
        num_classes=3, backbone=FPNConfig(bottom_up=ResNetConfig(depth=18)), pixel_std=(1, 2, 3.5)
    )
    data = {
        "num_classes": 3,
        "backbone": {"type": "fpn", "bottom_up": {"type": "resnet", "depth": 18}},
        "pixel_std": [1, 2, 3.5],
    }
    assert structure(data, FasterRCNNConfig, catalog) == config
    assert structure(unstructure(config, catalog), FasterRCNNConfig, catalog) == config


def test_defaults_are_those_of_published_models():
    config = FasterRCNNConfig()
    assert config.num_classes == 80
    resnet = config.backbone.bottom_up
    assert (resnet.depth, resnet.norm, resnet.freeze_at) == (50, "FrozenBN", 2)
    assert resnet.stride_in_1x1
    rpn = config.proposal_generator
    assert (rpn.pre_nms_topk, rpn.post_nms_topk, rpn.nms_thresh) == (
        (2000, 1000),
        (1000, 1000),
        0.7,
    )
    assert (rpn.batch_size_per_image, rpn.anchor_generator.offset) == (256, 0.0)
    heads = config.roi_heads
    assert (heads.batch_size_per_image, heads.positive_fraction) == (512, 0.25)
    assert heads.box_predictor.bbox_reg_weights == (10.0, 10.0, 5.0, 5.0)


SHAPES = {f"p{k}": ShapeSpec(channels=8, stride=2**k) for k in range(2, 7)}


def test_components_keep_the_contract(catalog, tiny_batch):
    image = torch.rand(2, 3, 64, 64)
    p5, pooled, vectors = torch.rand(1, 8, 4, 4), torch.rand(2, 8, 7, 7), torch.rand(5, 8)
    bottom_up = {"res5": ShapeSpec(channels=8, stride=32)}
    check = lambda config, kind, inputs, args=(): check_component(
        config, kind=kind, catalog=catalog, inputs=inputs, build_args=args
    )
    check(ResNetConfig(depth=18, norm="BN", freeze_at=0), "backbone", (image,))
    fpn = FPNConfig(bottom_up=ResNetConfig(depth=18), out_channels=8)
    check(fpn, "backbone", (image,))
    check(LastLevelMaxPoolConfig, "top_block", (p5,), (bottom_up, 8))
    check(LastLevelP6P7Config, "top_block", (p5,), (bottom_up, 8))
    check(DefaultAnchorGeneratorConfig, "anchor_generator", ([p5] * 5,), (list(SHAPES.values()),))
    head = FastRCNNConvFCHeadConfig(conv_dims=(8,), fc_dims=(8,))
    check(head, "box_head", (pooled,), (ShapeSpec(channels=8, height=7, width=7),))
    predictor_args = (ShapeSpec(channels=8), 3)
    check(FastRCNNOutputLayersConfig, "box_predictor", (vectors,), predictor_args)
    check(small(), "model", (tiny_batch((64, 96)),))


def test_proposal_generator_and_heads_keep_the_contract(catalog, tiny_batch):
    maps = {name: torch.rand(1, 8, 128 // s.stride, 128 // s.stride) for name, s in SHAPES.items()}
    truth = [tiny_batch((128, 128))[0]["instances"]]
    images = ImageList(torch.zeros(1, 3, 128, 128), [(128, 128)])
    rpn = RPNConfig(pre_nms_topk=(50, 50))
    check_component(
        rpn,
        kind="proposal_generator",
        catalog=catalog,
        inputs=(images, maps, truth),
        build_args=(SHAPES,),
    )
    proposals = [
        Instances(
            (128, 128),
            proposal_boxes=Boxes([[4.0, 4.0, 60.0, 60.0]]),
            objectness_logits=torch.zeros(1),
        )
    ]
    heads = StandardROIHeadsConfig(box_head=FastRCNNConvFCHeadConfig(fc_dims=(8,)))
    check_component(
        heads,
        kind="roi_heads",
        catalog=catalog,
        inputs=(maps, proposals, truth),
        build_args=(SHAPES, 3),
    )
