"""Pictures as arrays, for drawing on them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from okulo_core.errors import DataError, MissingFileError
from okulo_core.io import atomic_write, read_bytes

__all__ = ["read_picture", "write_picture"]


def read_picture(path: str) -> np.ndarray:
    """Read an image upright, as its EXIF orientation says.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        MissingFileError: There is no such file.
        DataError: It is no image, or truncated.
    """
    try:
        with Image.open(io.BytesIO(read_bytes(path))) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except FileNotFoundError:
        raise MissingFileError(f"there is no image {path}") from None
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's ways to refuse a file
        raise DataError(f"cannot read the image {path}: {error}") from error


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG."""
    with atomic_write(path, "wb") as file:
        Image.fromarray(picture).save(file, format="PNG")
