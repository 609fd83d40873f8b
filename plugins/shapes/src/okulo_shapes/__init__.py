"""A data set that draws itself: textured backgrounds with overlapping coloured shapes."""

from okulo_shapes.__about__ import __version__

__all__ = ["__version__"]
