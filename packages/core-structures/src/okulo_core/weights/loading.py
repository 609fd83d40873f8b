"""Named tensors into a model, by name, all or nothing."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from okulo_core.errors import CheckpointError
from okulo_core.weights.report import LoadReport, Misfit

__all__ = ["load_weights", "names_of_tensors"]


@torch.no_grad()
def load_weights(
    model: nn.Module, weights: Mapping[str, Tensor], *, source: str, partial: bool = False
) -> LoadReport:
    """Load named tensors into a model.

    A model that has ``upgrade_weights(weights) -> weights`` is asked first what the tensors of
    files older than itself mean.

    Args:
        model: Changed in place, unless an error is raised.
        weights: Tensors by the names of the model's state.
        source: Names the weights in messages.
        partial: Load what fits and leave the rest of the model as it is, for instance a head with
            another number of classes.

    Raises:
        CheckpointError: If they do not fit and ``partial`` is not set, with a table of what is
            missing, unexpected, or of another shape.
    """
    upgrade: Any = getattr(model, "upgrade_weights", None)
    if upgrade is not None:
        weights = upgrade(weights)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    fitting = {name: weights[name] for name, shape in given.items() if wanted.get(name) == shape}
    aliases = names_of_tensors(model)
    covered = {aliases[name] for name in given if name in aliases}
    misfits = [
        Misfit(name, given.get(name), wanted.get(name))
        for name in [*wanted, *(name for name in given if name not in wanted)]
        if wanted.get(name) != given.get(name)
        and not (name in wanted and name not in given and aliases[name] in covered)
        # Counters of BatchNorm, which only a momentum of None reads; old files have none.
        and not name.endswith("num_batches_tracked")
    ]
    report = LoadReport(source, len(fitting), misfits)
    if misfits and not partial:
        raise CheckpointError(
            f"{source} does not fit the model {type(model).__name__}:\n{report.table()}\n{report}"
        )
    model.load_state_dict(fitting, strict=False)
    return report


def names_of_tensors(model: nn.Module) -> dict[str, str]:
    """For each name in the state, the first name under which the same tensor stands."""
    first: dict[tuple[Any, ...], str] = {}
    aliases = {}
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.numel():
            key: tuple[Any, ...] = (tensor.data_ptr(), tensor.shape, tensor.stride())
        else:
            key = (name,)
        aliases[name] = first.setdefault(key, name)
    return aliases
