"""What okulo-coco offers to a catalogue; importing this imports no torch."""

from okulo_core.hookspecs import Component, hookimpl

__all__ = ["okulo_components"]


@hookimpl
def okulo_components() -> list[Component]:
    return [
        Component(
            kind="dataset",
            name="coco",
            config="okulo_coco.instances:CocoConfig",
            summary="COCO json: boxes, instance masks, keypoints, crowd regions, rotated boxes",
        ),
        Component(
            kind="dataset",
            name="coco_panoptic",
            config="okulo_coco.panoptic:CocoPanopticConfig",
            summary="COCO panoptic json with one PNG of segment ids per image",
        ),
    ]
