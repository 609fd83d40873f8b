"""Pasting of masks into the image: row D2-565."""

import math

import pytest
import torch

import okulo_ops._paste_masks as paste_masks_module
from okulo_ops import paste_masks_in_image
from okulo_ops._operator import OPERATORS


def reference(mask, box, height, width):
    """Value at every pixel centre, in Python's float64."""
    x0, y0, x1, y1 = (float(value) for value in box)
    side, values = len(mask), torch.zeros(height, width, dtype=torch.float64)
    cell = lambda i, j: float(mask[i, j]) if 0 <= i < side and 0 <= j < side else 0.0
    for row in range(height):
        for column in range(width):
            y = (row + 0.5 - y0) / (y1 - y0) * side - 0.5
            x = (column + 0.5 - x0) / (x1 - x0) * side - 0.5
            i, j = math.floor(y), math.floor(x)
            fy, fx = y - i, x - j
            values[row, column] = (
                cell(i, j) * (1 - fy) * (1 - fx)
                + cell(i, j + 1) * (1 - fy) * fx
                + cell(i + 1, j) * fy * (1 - fx)
                + cell(i + 1, j + 1) * fy * fx
            )
    return values


MASKS = torch.rand(4, 7, 7, generator=torch.Generator().manual_seed(0))
BOXES = torch.tensor(
    [[2.3, 1.1, 14.9, 12.2], [-5.0, -4.5, 8.0, 30.0], [0, 0, 20, 16.0], [6.2, 7.3, 6.9, 7.9]]
)


@pytest.fixture(params=["kernel", "meaning in chunks"])
def paste(request, monkeypatch):
    """The kernel, where there is one, and the meaning, a few masks at a time."""
    if request.param == "meaning in chunks":
        monkeypatch.setattr(paste_masks_module, "_CHUNK_BYTES", 3 * 4 * 16 * 20)
        monkeypatch.setattr(paste_masks_module, "_paste_masks", OPERATORS["paste_masks"])
    return paste_masks_in_image


@pytest.mark.parametrize("threshold", [0.5, 0.0, -1.0])
def test_contract(check_operator, device, threshold):
    masks, boxes = (MASKS * 16).round() / 16, BOXES.round()
    check_operator("paste_masks", (masks, boxes, 9, 11, threshold), device=device)
    check_operator("paste_masks", (masks[:0], boxes[:0], 3, 4, threshold), device=device)


def test_a_box_that_is_not_a_number_is_empty(device):
    nan, inf = float("nan"), float("inf")
    boxes = torch.tensor([[nan, 0, 9, 9], [0, 0, 9, nan], [-inf, 0, 9, 9], [0, 0, inf, 9]])
    masks = torch.ones(4, 7, 7)
    ours = paste_masks_in_image(masks.to(device), boxes.to(device), (16, 20)).cpu()
    assert not ours[:3].any()
    assert torch.equal(ours, OPERATORS["paste_masks"](masks, boxes, 16, 20, 0.5))


def test_pixels_are_bilinear_samples_of_the_mask(paste):
    values = torch.stack([reference(m, b, 16, 20) for m, b in zip(MASKS, BOXES, strict=True)])
    pasted = paste(MASKS, BOXES, (16, 20))
    decided = (values - 0.5).abs() > 1e-5
    assert pasted.dtype == torch.bool
    assert torch.equal(pasted[decided], (values >= 0.5)[decided])
    soft = paste(MASKS, BOXES, (16, 20), threshold=-1)
    assert soft.dtype == torch.uint8
    assert (soft - values * 255).abs().max() <= 1.001  # truncated


def test_a_full_mask_fills_the_pixels_of_its_box(paste):
    box = torch.tensor([[3.0, 2.0, 11.0, 8.0]])
    expected = torch.zeros(1, 16, 20, dtype=torch.bool)
    expected[:, 2:8, 3:11] = True
    assert torch.equal(paste(torch.ones(1, 28, 28), box, (16, 20)), expected)


def test_a_box_outside_the_image_or_without_area_leaves_an_empty_mask(paste):
    boxes = torch.tensor(
        [[-30.0, -30, -10, -10], [50, 50, 60, 60], [5, 5, 5, 9], [9, 9, 4, 4], [5, 5, 5, 5]]
    )
    assert not paste(torch.ones(5, 7, 7), boxes, (16, 20)).any()


def test_no_masks_keep_the_shape_and_dtype_of_many(paste):
    nothing = torch.zeros(0, 7, 7), torch.zeros(0, 4)
    assert tuple(paste(*nothing, (16, 20)).shape) == (0, 16, 20)
    assert paste(*nothing, (16, 20)).dtype == torch.bool
    assert paste(*nothing, (16, 20), threshold=-1).dtype == torch.uint8


def test_boxes_may_be_an_object_that_holds_them():
    class Boxes:
        tensor = BOXES

    assert torch.equal(
        paste_masks_in_image(MASKS, Boxes(), (16, 20)), paste_masks_in_image(MASKS, BOXES, (16, 20))
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.bool], ids=str)
def test_other_dtypes_of_masks_are_taken(dtype):
    masks = (MASKS > 0.5).to(dtype)
    assert torch.equal(
        paste_masks_in_image(masks, BOXES, (16, 20)),
        paste_masks_in_image(masks.float(), BOXES, (16, 20)),
    )


def test_it_compiles_as_one_graph():
    compiled = torch.compile(paste_masks_in_image, fullgraph=True, backend="eager")
    assert torch.equal(
        compiled(MASKS, BOXES, (16, 20)), paste_masks_in_image(MASKS, BOXES, (16, 20))
    )


@pytest.mark.shared
@pytest.mark.parametrize("threshold", ["0.5", "0", "0.9", "-1"])
def test_masks_agree_with_the_recorded_ones(golden, paste, threshold):
    case = f"paste_masks_{threshold}"
    settings = golden.settings[case]
    pasted = paste(
        golden(f"{case}/in/masks"),
        golden(f"{case}/in/boxes"),
        tuple(settings["image_shape"]),
        settings["threshold"],
    )
    difference = pasted.int() - golden(f"{case}/out/img_masks").int()
    assert difference.abs().max() <= (1 if threshold == "-1" else 0)


@pytest.mark.parametrize(
    ("masks", "boxes", "message"),
    [
        (torch.zeros(4, 7, 6), BOXES, r"square, of shape \(N, M, M\), got \(4, 7, 6\)"),
        (torch.zeros(7, 7), BOXES, r"square, of shape \(N, M, M\), got \(7, 7\)"),
        (MASKS, BOXES[:3], "one box per mask, got 4 masks, 3 boxes"),
        (MASKS, torch.zeros(4, 5), r"boxes must have shape \(N, 4\), got \(4, 5\)"),
    ],
    ids=["not square", "2-d", "too few boxes", "rotated boxes"],
)
def test_wrong_input_is_refused(masks, boxes, message):
    with pytest.raises(ValueError, match=message):
        paste_masks_in_image(masks, boxes, (16, 20))
