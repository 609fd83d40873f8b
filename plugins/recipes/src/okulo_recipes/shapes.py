"""The run ``recipe://shapes`` composed in Python: a small Faster R-CNN on drawn figures."""

from attrs import evolve

from okulo_engine.hooks.checkpoint import CheckpointConfig
from okulo_engine.hooks.clip import ClipGradientNormConfig
from okulo_engine.loading import LoaderConfig
from okulo_engine.optim import AdamWConfig, CosineConfig
from okulo_engine.run_config import RunConfig
from okulo_evaluation.coco_evaluator import CocoEvaluatorConfig
from okulo_evaluation.visualizer import InstanceVisualizerConfig
from okulo_modeling.anchors import DefaultAnchorGeneratorConfig
from okulo_modeling.backbones.fpn import FPNConfig
from okulo_modeling.backbones.resnet import ResNetConfig
from okulo_modeling.detectors.generalized_rcnn import FasterRCNNConfig
from okulo_modeling.roi_heads.box_head import FastRCNNConvFCHeadConfig
from okulo_modeling.roi_heads.standard import StandardROIHeadsConfig
from okulo_modeling.rpn import RPNConfig
from okulo_shapes.dataset import ShapesConfig
from okulo_transforms.flip import RandomFlipConfig
from okulo_transforms.mapper import DatasetMapperConfig

__all__ = ["model", "run"]


def model(num_classes: int = 5) -> FasterRCNNConfig:
    """A quarter of the usual width: 160 x 160 pixels and five figures need no more."""
    return FasterRCNNConfig(
        num_classes=num_classes,
        pixel_mean=(110.0, 110.0, 110.0),
        pixel_std=(60.0, 60.0, 60.0),
        backbone=FPNConfig(
            bottom_up=ResNetConfig(
                depth=18, norm="BN", freeze_at=0, stem_out_channels=32, res2_out_channels=32
            ),
            in_features=("res3", "res4", "res5"),  # no figure is small enough to need stride 4
            out_channels=64,
            norm="BN",
        ),
        proposal_generator=RPNConfig(
            in_features=("p3", "p4", "p5", "p6"),
            pre_nms_topk=(200, 200),
            post_nms_topk=(100, 50),
            batch_size_per_image=64,
            anchor_generator=DefaultAnchorGeneratorConfig(
                sizes=((24.0,), (40.0,), (64.0,), (96.0,))
            ),
        ),
        roi_heads=StandardROIHeadsConfig(
            in_features=("p3", "p4", "p5"),
            batch_size_per_image=64,
            positive_fraction=0.5,
            box_head=FastRCNNConvFCHeadConfig(fc_dims=(256, 256)),
        ),
    )


def run(root: str = "datasets://shapes", steps: int = 400) -> RunConfig:
    """Train for ``steps`` on 400 drawn images below ``root``, test on 60 others."""
    training = ShapesConfig(root=root, split="train", num_images=400, max_objects=6)
    return RunConfig(
        model=model(),
        train_data=LoaderConfig(
            dataset=training,
            mapper=DatasetMapperConfig(augmentations=(RandomFlipConfig(),)),
            batch_size=8,
            workers=1,
        ),
        test_data=LoaderConfig(
            dataset=evolve(training, split="val", num_images=60),
            mapper=DatasetMapperConfig(),
            batch_size=4,
            workers=1,
        ),
        optimizer=AdamWConfig(lr=0.002, weight_decay=0.01),
        schedule=CosineConfig(warmup_steps=50, warmup_factor=0.01),
        steps=steps,
        clip_gradients=ClipGradientNormConfig(value=10.0),
        eval_period=100,
        evaluators=(CocoEvaluatorConfig(),),
        checkpoint=CheckpointConfig(period=100, keep=2, best="bbox/AP"),
        visualizer=InstanceVisualizerConfig(scale=2.0),
    )
