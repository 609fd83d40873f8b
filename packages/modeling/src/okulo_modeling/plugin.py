"""What okulo-modeling offers to a catalogue; importing this imports no torch."""

from okulo_core.hookspecs import Component, hookimpl

__all__ = ["okulo_components"]


@hookimpl
def okulo_components() -> list[Component]:
    return [
        Component(
            kind="model",
            name="faster_rcnn",
            config="okulo_modeling.detectors.generalized_rcnn:FasterRCNNConfig",
            summary="Two-stage detector: region proposals, then class and box of each",
        ),
        Component(
            kind="backbone",
            name="resnet",
            config="okulo_modeling.backbones.resnet:ResNetConfig",
            summary="ResNet-18/34/50/101/152 and ResNeXt",
        ),
        Component(
            kind="backbone",
            name="fpn",
            config="okulo_modeling.backbones.fpn:FPNConfig",
            summary="Feature pyramid over a bottom-up backbone",
        ),
        Component(
            kind="top_block",
            name="max_pool",
            config="okulo_modeling.backbones.fpn:LastLevelMaxPoolConfig",
            summary="Pyramid level p6 by subsampling p5",
        ),
        Component(
            kind="top_block",
            name="p6p7",
            config="okulo_modeling.backbones.fpn:LastLevelP6P7Config",
            summary="Pyramid levels p6 and p7 by convolutions",
        ),
        Component(
            kind="anchor_generator",
            name="default",
            config="okulo_modeling.anchors:DefaultAnchorGeneratorConfig",
            summary="Axis-aligned anchors of given sizes and aspect ratios",
        ),
        Component(
            kind="proposal_generator",
            name="rpn",
            config="okulo_modeling.rpn:RPNConfig",
            summary="Region proposal network",
        ),
        Component(
            kind="roi_heads",
            name="standard",
            config="okulo_modeling.roi_heads.standard:StandardROIHeadsConfig",
            summary="Box head on features pooled from a pyramid",
        ),
        Component(
            kind="box_head",
            name="conv_fc",
            config="okulo_modeling.roi_heads.box_head:FastRCNNConvFCHeadConfig",
            summary="3x3 convolutions, then fully connected layers",
        ),
        Component(
            kind="box_predictor",
            name="fast_rcnn",
            config="okulo_modeling.roi_heads.fast_rcnn:FastRCNNOutputLayersConfig",
            summary="Softmax classes and class-specific boxes",
        ),
    ]
