"""Run lengths of masks, and pasting by whole pixels: row D2-566, COCO's mask format."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_ops import mask_to_rle, pad_masks, paste_mask_in_image_old, rle_to_mask, scale_boxes

sizes = st.tuples(st.integers(0, 9), st.integers(0, 9))


@st.composite
def some_mask(draw):
    height, width = draw(sizes)
    bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    return torch.tensor(bits, dtype=torch.bool).reshape(height, width)


def run_lengths(mask):
    """Pixel by pixel down the columns."""
    runs, current = [0], False
    for column in mask.t().tolist():
        for value in column:
            if value != current:
                runs.append(0)
                current = value
            runs[-1] += 1
    return runs


@given(some_mask())
def test_a_mask_comes_back_from_its_run_lengths(mask):
    plain, short = mask_to_rle(mask, compress=False), mask_to_rle(mask)
    assert plain["counts"] == run_lengths(mask)
    assert plain["size"] == short["size"] == list(mask.shape)
    assert torch.equal(rle_to_mask(plain), mask)
    assert torch.equal(rle_to_mask(short), mask)
    assert torch.equal(rle_to_mask(short | {"counts": short["counts"].decode()}), mask)


def test_compressed_text_of_a_known_mask():
    """Runs 6 1 40 4 5 8 16: 5 bits a character, from the fourth run on as differences."""
    mask = torch.zeros(80, dtype=torch.bool)
    mask[6:7] = mask[47:51] = mask[56:64] = True
    rle = mask_to_rle(mask.reshape(8, 10).t())
    assert rle == {"size": [10, 8], "counts": b"61X13mN4;"}


def test_pycocotools_writes_the_same_text():
    coco = pytest.importorskip("pycocotools.mask")
    generator = torch.Generator().manual_seed(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = torch.rand(211, 97, generator=generator) < share
        theirs = coco.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
        assert mask_to_rle(mask) == theirs
        assert torch.equal(rle_to_mask(theirs), mask)


def test_contract(check_operator, device):
    mask = torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    check_operator("mask_run_lengths", (mask,), device=device)


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, "sum to height times width, 4, got 3 from 2"),
        ({"size": [2, 2], "counts": [5, -1]}, "at least 0"),
        ({"size": [2, 2], "counts": "P"}, "end within a number"),
        ({"size": [2, 2], "counts": "4\n"}, "no character"),
    ],
    ids=["sum", "negative", "cut", "character"],
)
def test_damaged_run_lengths_are_refused(rle, message):
    with pytest.raises(ValueError, match=message):
        rle_to_mask(rle)


def test_a_stack_of_masks_is_refused():
    with pytest.raises(ValueError, match=r"shape \(height, width\), got \(1, 2, 2\)"):
        mask_to_rle(torch.zeros(1, 2, 2))


def test_old_pasting_counts_the_last_pixel():
    pasted = paste_mask_in_image_old(
        torch.ones(4, 4), torch.tensor([1.9, 2.2, 4.7, 3.9]), 6, 8, 0.5
    )
    expected = torch.zeros(6, 8, dtype=torch.uint8)
    expected[2:4, 1:5] = 1
    assert pasted.dtype == torch.uint8
    assert torch.equal(pasted, expected)


@pytest.mark.parametrize("box", [[-3.0, -2, 2, 3], [5, 4, 30, 20], [-9, -9, -5, -5], [4, 4, 2, 2]])
def test_old_pasting_cuts_at_the_image(box):
    x0, y0, x1, y1 = map(int, box)
    expected = torch.zeros(6, 8, dtype=torch.uint8)
    expected[max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)] = x1 >= x0
    assert torch.equal(
        paste_mask_in_image_old(torch.ones(4, 4), torch.tensor(box), 6, 8, 0.5), expected
    )


def test_old_pasting_resizes_as_pillow_does():
    Image = pytest.importorskip("PIL.Image")
    mask = torch.rand(14, 14, generator=torch.Generator().manual_seed(0))
    for width, height in ((5, 9), (30, 21)):
        theirs = np.array(Image.fromarray(mask.numpy()).resize((width, height), Image.BILINEAR))
        box = torch.tensor([0.0, 0, width - 1, height - 1])
        ours = paste_mask_in_image_old(mask, box, height, width, -1)
        assert np.abs(ours.numpy() - theirs * 255).max() <= 1.01  # truncated
        decided = np.abs(theirs - 0.5) > 1e-5
        hard = paste_mask_in_image_old(mask, box, height, width, 0.5).numpy()
        np.testing.assert_array_equal(hard[decided], (theirs > 0.5)[decided])


def test_padding_tells_by_how_much_it_enlarges():
    padded, scale = pad_masks(torch.ones(2, 4, 4), 1)
    assert tuple(padded.shape) == (2, 6, 6)
    assert padded.sum() == 32
    assert scale == 1.5
    with pytest.raises(ValueError, match="at least 0, got -1"):
        pad_masks(torch.ones(2, 4, 4), -1)


def test_boxes_scale_about_their_centre():
    boxes = torch.tensor([[0.0, 0, 4, 2], [-1, -1, 1, 1]])
    expected = torch.tensor([[-1.0, -0.5, 5, 2.5], [-1.5, -1.5, 1.5, 1.5]])
    torch.testing.assert_close(scale_boxes(boxes, 1.5), expected)
    assert tuple(scale_boxes(boxes[:0], 2).shape) == (0, 4)
