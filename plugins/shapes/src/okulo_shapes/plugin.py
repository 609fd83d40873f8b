"""What okulo-shapes offers to a catalogue; importing this imports no torch."""

from okulo_core.hookspecs import Component, hookimpl

__all__ = ["okulo_components"]


@hookimpl
def okulo_components() -> list[Component]:
    return [
        Component(
            kind="dataset",
            name="shapes",
            config="okulo_shapes.dataset:ShapesConfig",
            summary="draws itself: coloured figures on textures, with every kind of label",
        )
    ]
