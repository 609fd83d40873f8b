"""Image files to arrays: decoding, orientation, colour order. Decoding is Pillow's."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from okulo_core.errors import DataError, OkuloError
from okulo_core.io import read_bytes

__all__ = ["convert_image_to_rgb", "read_image", "read_label_map"]

# ITU-R BT.601 with analogue (U, V) scaling; rows give Y, U, V from R, G, B in [0, 1].
_YUV_FROM_RGB = np.array(
    [[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]]
)
_RGB_FROM_YUV = np.array([[1.0, 0.0, 1.13983], [1.0, -0.39465, -0.58060], [1.0, 2.03211, 0.0]])

# The operation that turns a stored image upright, by its EXIF orientation (1 is upright).
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: str | Path | bytes, format: str | None = None) -> NDArray[Any]:
    """Decode an image file and turn it upright by its EXIF orientation.

    16-bit grey files are reduced to their high byte, an alpha channel is dropped, palettes and
    CMYK are converted.

    Args:
        source: Path, URL, or the encoded bytes themselves.
        format: ``"RGB"``, ``"BGR"``, ``"L"``, ``"YUV-BT.601"`` or any other mode of Pillow;
            None keeps the file's own mode.

    Returns:
        (H, W, C) array, (H, W, 1) for ``"L"``. uint8 in [0, 255]; for ``"YUV-BT.601"`` float64
        with Y in [0, 1]. With ``format=None`` shape and dtype are those of the file.

    Raises:
        DataError: The file is missing, empty, truncated, or no image; the message names it.
        ValueError: ``format`` is unknown.
    """
    _check_format(format)
    image = _decode(source)
    if format is None:
        return np.array(image)
    if format == "YUV-BT.601":
        rgb = np.asarray(_convert(image, "RGB", source))
        return (rgb / 255.0) @ _YUV_FROM_RGB.T
    pixels = np.array(_convert(image, "RGB" if format == "BGR" else format, source))
    if format == "L":
        return pixels[:, :, None]
    return np.ascontiguousarray(pixels[:, :, ::-1]) if format == "BGR" else pixels


def read_label_map(source: str | Path | bytes) -> NDArray[np.int64]:
    """Decode a single-channel image whose pixel values are labels.

    Palette files give their indices, not their colours, and 16-bit files keep their values.

    Returns:
        (H, W) int64.

    Raises:
        DataError: The file cannot be read, or has colour channels.
    """
    image = _decode(source)
    if image.mode not in {"1", "L", "P"} and not image.mode.startswith("I"):
        raise DataError(
            f"label map {_name(source)} must have one channel of integers, got an image of mode "
            f"{image.mode!r}; write labels as an 8-bit or 16-bit grey PNG"
        )
    return np.asarray(image).astype(np.int64)


def convert_image_to_rgb(image: Any, format: str | None) -> NDArray[Any]:
    """Bring an image that :func:`read_image` returned (or its tensor) to RGB.

    Args:
        image: (H, W, C) array or tensor in ``format``.
        format: As in :func:`read_image`; None means that it is RGB already.

    Returns:
        (H, W, 3) in [0, 255]; floating point stays floating point, other types become uint8.
    """
    _check_format(format)
    pixels = np.asarray(image.cpu() if hasattr(image, "cpu") else image)
    if format == "BGR":
        return pixels[:, :, ::-1]
    if format == "YUV-BT.601":
        return (pixels @ _RGB_FROM_YUV.T) * 255.0
    if format == "L":
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    if format in {None, "RGB"}:
        return pixels
    return np.asarray(Image.fromarray(pixels.astype(np.uint8), mode=format).convert("RGB"))


def _check_format(format: str | None) -> None:
    known = [*Image.MODES, "BGR", "YUV-BT.601"]
    if format is not None and format not in known:
        raise ValueError(f"image format must be one of {', '.join(known)}, got {format!r}")


def _decode(source: str | Path | bytes) -> Image.Image:
    data = source if isinstance(source, bytes) else _fetch(source)
    if not data:
        raise DataError(f"image {_name(source)} is empty (0 bytes); restore it or drop its record")
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Exception as error:  # decoders meet broken bytes with nearly any exception
        unknown = isinstance(error, UnidentifiedImageError)  # whose text names a buffer
        why = "its format is not known" if unknown else str(error)
        raise DataError(
            f"image {_name(source)} cannot be decoded: {why}; it is truncated, corrupt, or no "
            "image; restore it or drop its record"
        ) from error
    return _upright(image)


def _fetch(path: str | Path) -> bytes:
    try:
        return read_bytes(path)
    except (OSError, OkuloError) as error:
        raise DataError(
            f"image {path} cannot be read: {error}; check the data set's folder and its file names"
        ) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # an unreadable EXIF block says nothing, the pixels are fine
        return image
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _convert(image: Image.Image, mode: str, source: str | Path | bytes) -> Image.Image:
    if image.mode == mode:
        return image
    if image.mode.startswith("I;16"):
        # Pillow would clip at 255; the high byte is what libpng and OpenCV give.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in {"I", "F"}:
        raise DataError(
            f"image {_name(source)} has 32 bits per pixel (mode {image.mode!r}), whose range is "
            f"unknown; convert it to 8 or 16 bits, or read it with format=None"
        )
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert(mode)


def _name(source: str | Path | bytes) -> str:
    return f"of {len(source)} bytes" if isinstance(source, bytes) else str(source)
