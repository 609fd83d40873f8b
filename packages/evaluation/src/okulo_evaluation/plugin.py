"""What okulo-evaluation offers to a catalogue; importing this imports no torch."""

from okulo_core.hookspecs import Component, hookimpl

__all__ = ["okulo_components"]


@hookimpl
def okulo_components() -> list[Component]:
    return [
        Component(
            kind="evaluator",
            name="coco",
            config="okulo_evaluation.coco_evaluator:CocoEvaluatorConfig",
            summary="COCO average precision of boxes, masks and keypoints",
        ),
        Component(
            kind="visualizer",
            name="instances",
            config="okulo_evaluation.visualizer:InstanceVisualizerConfig",
            summary="Draws boxes, masks, keypoints and labels on images",
        ),
    ]
