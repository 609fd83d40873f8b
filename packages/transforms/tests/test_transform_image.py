"""Decoding of images: D2-153, D2-154, and unreadable files.

The oracle of colours and 16-bit files is OpenCV; that of orientations is the definition of the EXIF
tag, stated as numpy operations.
"""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from okulo_core.errors import DataError
from okulo_transforms.image import convert_image_to_rgb, read_image, read_label_map


def picture(height=9, width=13, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        buffer, format, **options
    )
    return buffer.getvalue()


# How a camera stores an upright picture under each orientation.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_every_exif_orientation_is_turned_upright(orientation, format):
    upright = picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(np.ascontiguousarray(STORED[orientation](upright)), format, exif=exif)
    np.testing.assert_array_equal(read_image(data, "RGB"), upright)


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_unknown_orientation_is_ignored(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(read_image(encoded(picture(), exif=exif), "RGB"), picture())


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_unreadable_exif_is_ignored():
    data = encoded(picture(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff broken")
    assert read_image(data, "RGB").shape == (9, 13, 3)


def test_bgr_is_rgb_reversed_and_equals_opencv():
    data = encoded(picture())
    bgr = read_image(data, "BGR")
    np.testing.assert_array_equal(bgr, cv2.imdecode(np.frombuffer(data, np.uint8), 1))
    np.testing.assert_array_equal(bgr[:, :, ::-1], read_image(data, "RGB"))
    assert bgr.dtype == np.uint8
    assert bgr.flags["C_CONTIGUOUS"]
    assert bgr.flags["WRITEABLE"]


def test_grey_keeps_a_channel_axis():
    assert read_image(encoded(picture()), "L").shape == (9, 13, 1)


def test_no_format_keeps_the_mode_of_the_file():
    assert read_image(encoded(picture()[:, :, 0])).shape == (9, 13)
    assert read_image(encoded(picture())).shape == (9, 13, 3)


def test_yuv_of_red_is_bt601():
    red = np.zeros((2, 3, 3), np.uint8)
    red[:, :, 0] = 255
    yuv = read_image(encoded(red), "YUV-BT.601")
    np.testing.assert_allclose(yuv[1, 2], (0.299, -0.14713, 0.615), atol=1e-12)
    np.testing.assert_allclose(
        convert_image_to_rgb(yuv, "YUV-BT.601")[0, 0], (254.999, -0.001, 0.004), atol=2e-3
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "1", "L"])
def test_every_mode_becomes_three_channels(mode):
    grey = np.repeat(np.full((6, 7, 1), 255, np.uint8), 3, axis=2)
    grey[:3] = 0
    data = encoded(Image.fromarray(grey).convert(mode), "TIFF")
    np.testing.assert_allclose(read_image(data, "RGB"), grey, atol=1)


def test_transparency_drops_alpha_and_keeps_colour():
    rgba = np.dstack([picture(), np.zeros((9, 13), np.uint8)])
    np.testing.assert_array_equal(read_image(encoded(rgba), "RGB"), picture())


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparency_decodes_without_a_warning():
    image = Image.fromarray(picture()).quantize(8)
    data = encoded(image, transparency=b"\x00\x80")
    np.testing.assert_array_equal(read_image(data, "RGB"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_give_their_high_byte_as_opencv_does(format):
    deep = np.random.default_rng(0).integers(0, 2**16, (5, 6), dtype=np.uint16)
    data = encoded(deep, format)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(read_image(data, "L")[:, :, 0], expected)
    np.testing.assert_array_equal(read_image(data, "RGB"), np.repeat(expected[..., None], 3, 2))


def test_thirty_two_bits_are_refused_with_a_remedy():
    data = encoded(np.ones((2, 2), np.float32), "TIFF")
    with pytest.raises(DataError, match=r"32 bits per pixel.*convert it to 8 or 16 bits"):
        read_image(data, "RGB")
    assert read_image(data).dtype == np.float32


def test_an_unknown_format_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"must be one of .*BGR, YUV-BT\.601, got 'rgb'"):
        read_image(encoded(picture()), "rgb")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\); restore it"),
        (b"this is no image", "cannot be decoded.*restore it or drop its record"),
        (encoded(picture(64, 64), "JPEG")[:-300], "cannot be decoded.*truncated"),
        (encoded(picture(64, 64), "PNG")[:-3000], "cannot be decoded"),
        (encoded(picture(64, 64), "PNG")[:40], "cannot be decoded"),
    ],
    ids=["empty", "text", "short jpeg", "short png", "header only"],
)
def test_a_broken_file_is_named_with_what_to_do(tmp_path, content, message):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_image(path, "RGB")
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named_with_what_to_do(tmp_path):
    with pytest.raises(
        DataError, match=r"missing\.png cannot be read.*check the data set's folder"
    ):
        read_image(tmp_path / "missing.png", "RGB")


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path, "RGB")


@pytest.mark.parametrize("format", ["RGB", "BGR", "L", "HSV", None])
def test_conversion_to_rgb_undoes_the_format(format):
    grey = np.repeat(picture()[:, :, :1], 3, axis=2)
    image = read_image(encoded(grey), format)
    rgb = convert_image_to_rgb(image, format)
    np.testing.assert_array_equal(rgb, grey)
    assert rgb.dtype == np.uint8


def test_conversion_to_rgb_keeps_floats():
    image = picture().astype(np.float32) + 0.25
    np.testing.assert_array_equal(convert_image_to_rgb(image, "BGR"), image[:, :, ::-1])


def test_label_maps_keep_palette_indices_and_sixteen_bits():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    palette = Image.fromarray(labels)
    palette.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    assert palette.mode == "P"
    np.testing.assert_array_equal(read_label_map(encoded(palette)), labels)
    deep = labels.astype(np.uint16) * 3000
    np.testing.assert_array_equal(read_label_map(encoded(deep)), deep)
    np.testing.assert_array_equal(read_label_map(encoded(labels)), labels)
    assert read_label_map(encoded(labels)).dtype == np.int64


def test_a_label_map_in_colour_is_refused():
    with pytest.raises(DataError, match=r"must have one channel of integers, got .*'RGB'"):
        read_label_map(encoded(picture()))
