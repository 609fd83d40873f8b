"""What okulo-transforms offers to a catalogue; importing this imports no torch."""

from okulo_core.hookspecs import Component, hookimpl

__all__ = ["okulo_components"]


@hookimpl
def okulo_components() -> list[Component]:
    return [
        Component(
            kind="augmentation",
            name="random_flip",
            config="okulo_transforms.flip:RandomFlipConfig",
            summary="mirror horizontally or vertically with a probability",
        ),
        Component(
            kind="augmentation",
            name="resize_shortest_edge",
            config="okulo_transforms.resize:ResizeShortestEdgeConfig",
            summary="resize to a short edge, the long edge limited",
        ),
        Component(
            kind="mapper",
            name="detection",
            config="okulo_transforms.mapper:DatasetMapperConfig",
            summary="decode, augment, and gather boxes, masks and keypoints",
        ),
    ]
