"""What okulo-template offers to a catalogue; importing this imports no torch."""

from okulo_core.hookspecs import Component, hookimpl

__all__ = ["okulo_components"]


@hookimpl
def okulo_components() -> list[Component]:
    return [
        Component(
            kind="loss",
            name="charbonnier",
            config="okulo_template.charbonnier:CharbonnierLossConfig",
            summary="L1 far from zero, smooth at zero",
        ),
    ]
