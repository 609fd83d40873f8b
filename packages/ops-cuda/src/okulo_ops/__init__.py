"""Native operators for detection and segmentation with one meaning on every device.

Names are taken from here (``from okulo_ops import nms``); each operator lives in a module of its
own, which is loaded, and PyTorch with it, when the name is first used. The list is in the stub
``__init__.pyi``; the underscore of a module keeps it from taking the place of its operator.

Conventions: continuous pixel coordinates, (0, 0) is the outer corner of the top-left pixel; boxes
are (x0, y0, x1, y1) with width x1 - x0; sizes are (height, width). Which way an angle turns, and in
which unit, is stated by each operator.
"""

import lazy_loader

from okulo_ops.__about__ import __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
