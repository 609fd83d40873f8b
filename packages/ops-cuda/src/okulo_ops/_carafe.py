"""Content-aware reassembly of features, an upsampling (https://arxiv.org/abs/1905.02188)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from okulo_ops._checks import check_floating, check_same_device, in_float32
from okulo_ops._operator import define

__all__ = ["carafe", "carafe_naive", "CARAFE", "CARAFENaive", "CARAFEPack"]


def carafe(
    features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> Tensor:
    """Weight a window of the features for each pixel of a larger map (Eq. 3).

    Output pixel (y, x) sums the k x k window around cell (y // s, x // s); cells outside are zero.

    Args:
        features: (N, C, H, W) floating.
        masks: (N, k * k * g, s * H, s * W) floating; the weight of tap (i, j) in a group is channel
            (group * k + i) * k + j. They are used as they are, without a softmax.
        kernel_size: k, odd.
        group_size: g groups of channels, each with masks of its own; divides C.
        scale_factor: s >= 1.

    Returns:
        (N, C, s * H, s * W), dtype of ``features``. The gradient flows to both inputs.

    Raises:
        ValueError: A size does not fit the above.
    """
    check_floating("features", features, ("N", "C", "H", "W"))
    _check_settings(kernel_size, group_size, scale_factor)
    batch, channels, height, width = features.shape
    if channels % group_size:
        raise ValueError(
            f"group_size must divide the channels of features, got {group_size} and {channels}"
        )
    rows, columns = scale_factor * height, scale_factor * width
    check_floating("masks", masks, (batch, kernel_size**2 * group_size, rows, columns))
    check_same_device(features=features, masks=masks)
    return _carafe(features, masks.to(features.dtype), kernel_size, group_size, scale_factor)


def carafe_naive(
    features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> Tensor:
    """:func:`carafe` by mmcv's name for its reference kernel: same result, same speed."""
    return carafe(features, masks, kernel_size, group_size, scale_factor)


class CARAFE(nn.Module):
    """:func:`carafe` with its settings."""

    def __init__(self, kernel_size: int, group_size: int, scale_factor: int) -> None:
        super().__init__()
        _check_settings(kernel_size, group_size, scale_factor)
        self.kernel_size = kernel_size
        self.group_size = group_size
        self.scale_factor = scale_factor

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        return carafe(features, masks, self.kernel_size, self.group_size, self.scale_factor)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, group_size={self.group_size}, "
            f"scale_factor={self.scale_factor}"
        )


class CARAFENaive(CARAFE):
    """:class:`CARAFE` by mmcv's name for its reference kernel."""


class CARAFEPack(nn.Module):
    """Upsampling that predicts its masks from the features (section 3.2).

    Args:
        channels: Channels of the features.
        scale_factor: Outputs for a cell and axis.
        up_kernel: Window of the reassembly, odd.
        up_group: Groups of channels with masks of their own.
        encoder_kernel: Window of the convolution that predicts the masks.
        encoder_dilation: Its dilation.
        compressed_channels: Channels it sees.
    """

    def __init__(
        self,
        channels: int,
        scale_factor: int,
        up_kernel: int = 5,
        up_group: int = 1,
        encoder_kernel: int = 3,
        encoder_dilation: int = 1,
        compressed_channels: int = 64,
    ) -> None:
        super().__init__()
        _check_settings(up_kernel, up_group, scale_factor)
        self.scale_factor = scale_factor
        self.up_kernel = up_kernel
        self.up_group = up_group
        self.channel_compressor = nn.Conv2d(channels, compressed_channels, 1)
        self.content_encoder = nn.Conv2d(
            compressed_channels,
            up_kernel**2 * up_group * scale_factor**2,
            encoder_kernel,
            padding=(encoder_kernel - 1) * encoder_dilation // 2,
            dilation=encoder_dilation,
        )
        self.init_weights()

    def init_weights(self) -> None:
        nn.init.xavier_uniform_(self.channel_compressor.weight)
        nn.init.normal_(self.content_encoder.weight, std=0.001)
        for layer in (self.channel_compressor, self.content_encoder):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, s * H, s * W)."""
        masks = self.content_encoder(self.channel_compressor(x))
        masks = F.pixel_shuffle(masks, self.scale_factor)
        masks = masks.unflatten(1, (self.up_group, -1)).softmax(2).flatten(1, 2)
        return carafe(x, masks, self.up_kernel, self.up_group, self.scale_factor)


def _check_settings(kernel_size: int, group_size: int, scale_factor: int) -> None:
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
    if group_size < 1 or scale_factor < 1:
        raise ValueError(
            f"group_size and scale_factor must be positive, got {group_size} and {scale_factor}"
        )


def _meaning(features: Tensor, masks: Tensor, kernel: int, groups: int, scale: int) -> Tensor:
    batch, channels, height, width = features.shape
    windows = F.unfold(in_float32(features), kernel, padding=kernel // 2)
    windows = windows.view(batch, groups, channels // groups, kernel**2, height, width)
    weights = in_float32(masks).reshape(batch, groups, kernel**2, height, scale, width, scale)
    out = torch.einsum("ngckhw,ngkhiwj->ngchiwj", windows, weights)
    return out.reshape(_out_shape(features, scale)).to(features.dtype)


def _out_shape(features: Tensor, scale: int) -> tuple[int, ...]:
    batch, channels, height, width = features.shape
    return batch, channels, scale * height, scale * width


_carafe = define(
    "carafe(Tensor features, Tensor masks, int kernel, int groups, int scale) -> Tensor",
    _meaning,
    lambda features, _masks, _kernel, _groups, scale: features.new_empty(
        _out_shape(features, scale)
    ),
    gradient=["features", "masks"],
)
