"""The shape of a feature map, as far as one module must tell another."""

from attrs import frozen

__all__ = ["ShapeSpec"]


@frozen
class ShapeSpec:
    """Channels, size and stride of a feature map; None where unknown.

    ``stride`` is in pixels of the network's input; ``height`` and ``width`` in cells.
    """

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    stride: int | None = None
