"""The contract that every component keeps, as one check for a plugin's tests."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from okulo_core.catalog import Catalog
from okulo_core.config import structure_part, unstructure_part

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["check_component"]


def check_component(
    config: Any,
    *,
    kind: str,
    catalog: Catalog,
    inputs: Sequence[Any] | None = None,
    build_args: Sequence[Any] = (),
) -> Any:
    """Prove that a component works wherever Okulo may put it.

    Its configuration is listed under ``kind``, has defaults, returns equal from plain data and from
    a pickle, and builds. A built ``torch.nn.Module`` also runs forward in training mode, gives a
    finite gradient to each trainable parameter and to each input that requires one, and gives the
    same outputs after a state dict or a pickle has carried it over.

    Args:
        config: The configuration, or its class, which then has to have a default for every field.
        kind: The kind of component it is listed as.
        catalog: Lists it.
        inputs: Positional arguments of the built module's ``forward``.
        build_args: Positional arguments of ``config.build``.

    Returns:
        What was built.

    Raises:
        AssertionError: A part of the contract is broken; the message says which.
    """
    config = _with_defaults(config)
    _check_round_trip(config, kind, catalog)
    _check_pickle(config)
    built = config.build(*build_args)
    if _is_module(built):
        if inputs is None:
            raise AssertionError(
                f"{type(built).__name__} is a module; pass inputs=(...), the arguments of forward"
            )
        _check_gradients(built, inputs)
        _check_copies(built, config.build(*build_args), inputs)
    return built


def _with_defaults(config: Any) -> Any:
    if not isinstance(config, type):
        return config
    try:
        return config()
    except TypeError as error:
        raise AssertionError(f"{config.__name__} does not build from defaults: {error}") from error


def _check_round_trip(config: Any, kind: str, catalog: Catalog) -> None:
    cls = type(config)
    listed = catalog.config_class(kind, catalog.name_of(kind, config))
    _require(listed is cls, f"the catalogue holds {listed} in place of {cls}")
    text = json.dumps(unstructure_part(config, kind, catalog))
    returned = structure_part(json.loads(text), kind, catalog)
    message = f"{cls.__name__} does not return equal from plain data:\n  {config}\n  {returned}"
    _require(returned == config, message)


def _check_pickle(config: Any) -> None:
    try:
        returned = pickle.loads(pickle.dumps(config))
    except Exception as error:
        raise AssertionError(f"{type(config).__name__} cannot be pickled: {error}") from error
    message = f"{type(config).__name__} does not return equal from a pickle"
    _require(returned == config, message)


def _require(condition: bool, message: str) -> None:
    # An assert statement would say nothing under python -O, and pytest would not rewrite it here.
    if not condition:
        raise AssertionError(message)


def _is_module(built: Any) -> bool:
    # A plugin without modules is checked without importing torch.
    return any(cls.__module__ == "torch.nn.modules.module" for cls in type(built).__mro__)


def _check_gradients(module: nn.Module, inputs: Sequence[Any]) -> None:
    name = type(module).__name__
    inputs = copy.deepcopy(inputs)  # gradients are left in the copy
    watched: dict[str, Any] = {k: p for k, p in module.named_parameters() if p.requires_grad}
    given = [tensor for tensor in _tensors(inputs) if tensor.requires_grad]
    watched |= {f"input {index}": tensor for index, tensor in enumerate(given)}
    module.train()
    outputs = [tensor for tensor in _tensors(_seeded(module, inputs)) if tensor.requires_grad]
    if outputs:
        total: Any = sum(tensor.float().sum() for tensor in outputs)
        total.backward()
    for key, tensor in watched.items():
        _require(tensor.grad is not None, f"no gradient reaches {key} of {name}")
        _require(
            bool(tensor.grad.isfinite().all()), f"the gradient of {key} of {name} is not finite"
        )
    module.zero_grad()


def _check_copies(module: nn.Module, other: nn.Module, inputs: Sequence[Any]) -> None:
    """The state dict and the pickle hold all that the outputs depend on."""
    name = type(module).__name__
    other.load_state_dict(module.state_dict())
    try:
        pickled = pickle.loads(pickle.dumps(module))
    except Exception as error:
        raise AssertionError(f"{name} cannot be pickled: {error}") from error
    expected = list(_tensors(_seeded(module, copy.deepcopy(inputs))))
    for way, copied in (("its state dict", other.train()), ("a pickle", pickled)):
        found = list(_tensors(_seeded(copied, copy.deepcopy(inputs))))
        same = len(found) == len(expected) and all(map(_equal, found, expected))
        _require(same, f"{name} gives other outputs after a round trip through {way}")


def _seeded(module: nn.Module, inputs: Sequence[Any]) -> Any:
    """The outputs of a module, with repeatable random numbers."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module(*inputs)


def _equal(a: Tensor, b: Tensor) -> bool:
    import torch

    return torch.allclose(a, b, equal_nan=True) if a.shape == b.shape else False


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested containers and in structures such as Instances and Boxes."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif hasattr(value, "get_fields"):
        yield from _tensors(value.get_fields())
    elif hasattr(value, "tensor"):
        yield from _tensors(value.tensor)
