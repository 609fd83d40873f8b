"""Weight initialisation by the names that published configurations use."""

from torch import nn

__all__ = ["c2_msra_fill", "c2_xavier_fill"]


def c2_msra_fill(module: nn.Conv2d | nn.Linear) -> None:
    """Fill by normal weights of variance 2 / fan_out (https://arxiv.org/abs/1502.01852, Eq. 14)."""
    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def c2_xavier_fill(module: nn.Conv2d | nn.Linear) -> None:
    """Uniform weights of variance 1 / fan_in, zero bias.

    Caffe2's "Xavier" counts the inputs only, unlike https://proceedings.mlr.press/v9/glorot10a.html
    (Eq. 16), which averages inputs and outputs.
    """
    nn.init.kaiming_uniform_(module.weight, a=1)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
