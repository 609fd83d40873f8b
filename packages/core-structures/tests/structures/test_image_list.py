"""ImageList: rows D2-518, D2-519."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from okulo_core.structures import ImageList

IMAGES = [torch.rand(3, 7, 11), torch.rand(3, 9, 5)]


def test_a_batch_holds_images_and_sizes():
    """D2-518."""
    images = ImageList.from_tensors(IMAGES)
    assert len(images) == 2
    assert tuple(images.tensor.shape) == (2, 3, 9, 11)
    assert images.image_sizes == [(7, 11), (9, 5)]
    assert images.device == torch.device("cpu")
    for k in (0, 1, -1):
        assert torch.equal(images[k], IMAGES[k])


def test_to_moves_only_the_tensor():
    """D2-518."""
    images = ImageList.from_tensors(IMAGES)
    moved = images.to(dtype=torch.float64)
    assert moved.tensor.dtype == torch.float64
    assert images.tensor.dtype == torch.float32
    assert moved.image_sizes == images.image_sizes
    assert images.to("meta").device.type == "meta"


size = st.integers(1, 12)


@given(
    st.lists(st.tuples(size, size), min_size=1, max_size=4),
    st.sampled_from([0, 1, 4, 8]),
    st.sampled_from([(), (2,), (3, 2)]),
)
def test_every_image_is_top_left_and_the_rest_is_padding(sizes, stride, leading):
    """D2-519."""
    images = [torch.rand(*leading, *size) for size in sizes]
    batch = ImageList.from_tensors(images, stride, pad_value=-1.0)
    height, width = batch.tensor.shape[-2:]
    assert batch.tensor.is_contiguous()
    for image, row, (h, w) in zip(images, batch.tensor, sizes, strict=True):
        assert torch.equal(row[..., :h, :w], image)
        assert (row[..., h:, :] == -1).all()
        assert (row[..., :, w:] == -1).all()
    step = max(stride, 1)
    assert (height, width) == tuple(
        -(-max(side) // step) * step for side in zip(*sizes, strict=True)
    )


def test_constraints_stand_before_the_argument():
    """D2-519."""
    square = ImageList.from_tensors(IMAGES, 4, padding_constraints={"square_size": 16})
    assert tuple(square.tensor.shape) == (2, 3, 16, 16)
    assert square.image_sizes == [(7, 11), (9, 5)]
    stride = ImageList.from_tensors(IMAGES, 4, padding_constraints={"size_divisibility": 8})
    assert tuple(stride.tensor.shape) == (2, 3, 16, 16)
    with pytest.raises(
        ValueError, match=r"fit into square_size 8, got \(height, width\) \(7, 11\)"
    ):
        ImageList.from_tensors(IMAGES, padding_constraints={"square_size": 8})


def test_label_maps_keep_their_dtype_and_take_the_label_to_ignore():
    """D2-519."""
    maps = [torch.zeros(4, 6, dtype=torch.int64), torch.ones(5, 3, dtype=torch.int64)]
    batch = ImageList.from_tensors(maps, pad_value=255)
    assert batch.tensor.dtype == torch.int64
    assert batch.tensor[0, 4].tolist() == [255] * 6


def test_the_batch_is_a_copy_through_which_gradients_flow():
    """D2-519."""
    for images in ([torch.rand(2, 3, 3)], [torch.rand(2, 3, 3), torch.rand(2, 4, 2)]):
        before = images[0].clone()
        ImageList.from_tensors(images).tensor.zero_()
        assert torch.equal(images[0], before)
        for image in images:
            image.requires_grad_()
        ImageList.from_tensors(images, 8).tensor.sum().backward()
        assert all((image.grad == 1).all() for image in images)


def test_bad_input_is_refused():
    """D2-519."""
    with pytest.raises(ValueError, match=r"at least one image tensor, got \[\]"):
        ImageList.from_tensors([])
    with pytest.raises(ValueError, match=r"got \(3, 7, 11\) and \(1, 7, 11\)"):
        ImageList.from_tensors([IMAGES[0], torch.zeros(1, 7, 11)])
    with pytest.raises(TypeError, match="images must be tensors, got list"):
        ImageList.from_tensors([[[0.0]]])
    with pytest.raises(ValueError, match=r"shape \(..., H, W\), got \(7,\)"):
        ImageList.from_tensors([torch.zeros(7)])


def test_it_compiles_as_one_graph():
    def batched(images):
        return ImageList.from_tensors(images, 4, pad_value=0.5).tensor * 2

    compiled = torch.compile(batched, fullgraph=True, backend="eager")
    assert torch.equal(compiled(IMAGES), batched(IMAGES))


@pytest.mark.shared
@pytest.mark.parametrize(
    "case",
    [
        "0_0_none",
        "4_1.5_none",
        "32_0_none",
        "0_0_size_divisibility8",
        "2_0_square_size16",
        "4_0_square_size0_size_divisibility8",
    ],
)
def test_recorded_batches(golden, case):
    case = f"imagelist_{case}"
    images = [golden(f"{case}/in/im0"), golden(f"{case}/in/im1")]
    batch = ImageList.from_tensors(images, **golden.settings[case])
    golden.check(batch.tensor, f"{case}/out/tensor")
    golden.check(torch.tensor(batch.image_sizes), f"{case}/out/sizes_hw")


@pytest.mark.shared
def test_recorded_label_maps(golden):
    maps = [torch.zeros(2, 6, 5), torch.zeros(2, 3, 9)]
    batch = ImageList.from_tensors(maps, 4, 255)
    golden.check(batch.tensor, "imagelist_labels/out/tensor")
