"""Blood cells (BCCD) composed in Python: ``recipe://bccd`` and ``recipe://bccd_reference``."""

from okulo_coco.instances import CocoConfig
from okulo_engine.hooks.checkpoint import CheckpointConfig
from okulo_engine.hooks.clip import ClipGradientNormConfig
from okulo_engine.loading import LoaderConfig
from okulo_engine.optim import CosineConfig, MultiStepConfig, SGDConfig
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
from okulo_transforms.flip import RandomFlipConfig
from okulo_transforms.mapper import DatasetMapperConfig
from okulo_transforms.resize import ResizeShortestEdgeConfig

__all__ = ["reference", "run"]


def dataset(split: str) -> CocoConfig:
    """``train`` (205 images), ``val`` (87) or ``test`` (72) below ``$OKULO_DATASETS``."""
    return CocoConfig(
        annotations=f"datasets://bccd/annotations/instances_{split}.json",
        images="datasets://bccd/images",
    )


def run() -> RunConfig:
    """The settings made for two CPU cores; ``runs/bccd.yaml`` says what they reach."""
    test_resize = ResizeShortestEdgeConfig(short_edge_length=(256,), max_size=400)
    return RunConfig(
        model=FasterRCNNConfig(
            num_classes=3,
            pixel_mean=(180.0, 180.0, 180.0),
            pixel_std=(40.0, 40.0, 40.0),
            backbone=FPNConfig(
                bottom_up=ResNetConfig(depth=18, norm="BN", freeze_at=0),
                out_channels=96,
                norm="BN",
            ),
            proposal_generator=RPNConfig(
                pre_nms_topk=(500, 500),
                post_nms_topk=(200, 200),
                anchor_generator=DefaultAnchorGeneratorConfig(
                    sizes=((16.0,), (32.0,), (64.0,), (128.0,), (256.0,))
                ),
            ),
            roi_heads=StandardROIHeadsConfig(
                batch_size_per_image=96, box_head=FastRCNNConvFCHeadConfig(fc_dims=(512, 512))
            ),
        ),
        train_data=LoaderConfig(
            dataset=dataset("train"),
            mapper=DatasetMapperConfig(
                augmentations=(
                    ResizeShortestEdgeConfig(
                        short_edge_length=(208, 224, 240, 256, 272, 288, 304), max_size=416
                    ),
                    RandomFlipConfig(),
                    # Cells have no upright position.
                    RandomFlipConfig(horizontal=False, vertical=True),
                )
            ),
            batch_size=4,
            workers=1,
        ),
        test_data=LoaderConfig(
            dataset=dataset("val"),
            mapper=DatasetMapperConfig(augmentations=(test_resize,)),
            workers=1,
        ),
        optimizer=SGDConfig(lr=0.02, momentum=0.9, weight_decay=1e-4, weight_decay_norm=0.0),
        schedule=CosineConfig(warmup_steps=100, warmup_factor=0.001),
        steps=700,
        clip_gradients=ClipGradientNormConfig(value=10.0),
        eval_period=350,
        evaluators=(CocoEvaluatorConfig(),),
        checkpoint=CheckpointConfig(period=350, keep=2, best="bbox/AP"),
        visualizer=InstanceVisualizerConfig(),
    )


def reference() -> RunConfig:
    """detectron2's settings, to show the same training curve; see ``runs/bccd_reference.yaml``."""
    resize = ResizeShortestEdgeConfig(short_edge_length=(240,), max_size=400)
    return RunConfig(
        model=FasterRCNNConfig(
            num_classes=3,
            backbone=FPNConfig(bottom_up=ResNetConfig(depth=18, norm="BN", freeze_at=0), norm="BN"),
            proposal_generator=RPNConfig(pre_nms_topk=(500, 1000), post_nms_topk=(300, 1000)),
            roi_heads=StandardROIHeadsConfig(batch_size_per_image=128),
        ),
        train_data=LoaderConfig(
            dataset=dataset("train"),
            mapper=DatasetMapperConfig(augmentations=(resize, RandomFlipConfig())),
            batch_size=4,
            workers=1,
        ),
        test_data=LoaderConfig(
            dataset=dataset("val"), mapper=DatasetMapperConfig(augmentations=(resize,)), workers=1
        ),
        optimizer=SGDConfig(lr=0.02, momentum=0.9, weight_decay=1e-4, weight_decay_norm=0.0),
        schedule=MultiStepConfig(
            milestones=(600, 736), gamma=0.1, warmup_steps=100, warmup_factor=0.001
        ),
        steps=800,
        clip_gradients=ClipGradientNormConfig(value=10.0),
        eval_period=200,
        evaluators=(CocoEvaluatorConfig(),),
        checkpoint=CheckpointConfig(period=200, keep=2, best="bbox/AP"),
    )
