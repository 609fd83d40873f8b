"""How an operator enters PyTorch: schema, meaning, fake, gradient and autocast in one call.

The *meaning* is a plain function on tensors. It runs on every device that has no native kernel of
the operator, native kernels are tested against it, and PyTorch's derivative of it is the gradient
where there is no native one: without a kernel, for second derivatives, and on a GPU in
deterministic mode, where kernels that add atomically may not run.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import okulo_ops._library  # noqa: F401  native kernels take precedence once they are loaded

__all__ = ["OPERATORS", "define"]

Meaning = Callable[..., Any]

OPERATORS: dict[str, Meaning] = {}
"""Name in ``torch.ops.okulo`` -> meaning, for every operator whose module has been imported."""


def define(
    schema: str,
    meaning: Meaning,
    fake: Callable[..., Any],
    *,
    gradient: Sequence[str] = (),
    saved: int = 0,
    autocast: Literal["float32", "lower"] | None = None,
) -> Callable[..., Any]:
    """Define ``torch.ops.okulo.<name>`` and, if it has a gradient, ``<name>_backward``.

    The gradient operator takes the gradient of the first output, then all inputs, then the saved
    outputs, and returns one tensor for each name in ``gradient`` (a list for a list of tensors, an
    empty tensor for an absent optional input). Native kernels of both are found by these names.

    Args:
        schema: ``name(Tensor input, ...) -> Tensor`` in PyTorch's schema language; no defaults.
        meaning: The operator in plain PyTorch, same arguments; differentiable if ``gradient``.
        fake: Same arguments, returns contiguous empty tensors of the right shape and dtype.
        gradient: Names of the inputs that the first output is differentiated by.
        saved: How many outputs after the first, such as the index of a maximum, the gradient
            operator receives; no gradient flows through them.
        autocast: What floating inputs become in an autocast region: "float32", or "lower" for the
            region's own dtype; None leaves them as they are.

    Returns:
        The operator.
    """
    name = schema.split("(")[0]
    op = _define(schema, meaning, fake)
    if gradient:
        _define_gradient(op, meaning, gradient, saved)
    if autocast is not None:
        for device in ("cpu", "cuda"):
            _register_autocast(f"okulo::{name}", op, device, autocast)
    return op  # type: ignore[no-any-return]


def _define(schema: str, meaning: Meaning, fake: Callable[..., Any]) -> Any:
    name = schema.split("(")[0]
    torch.library.define(f"okulo::{name}", schema[len(name) :])

    def default(*args: Any) -> Any:
        # A kernel returns fresh contiguous tensors; a meaning might return a view of its input.
        return _map_tensors(
            lambda t: t.clone(memory_format=torch.contiguous_format), meaning(*args)
        )

    torch.library.impl(f"okulo::{name}", "default")(default)
    torch.library.register_fake(f"okulo::{name}")(fake)
    OPERATORS[name] = meaning
    return getattr(torch.ops.okulo, name).default


def _define_gradient(op: Any, meaning: Meaning, gradient: Sequence[str], saved: int) -> None:
    arguments = [argument.name for argument in op._schema.arguments]
    count = len(arguments)
    wrt = [arguments.index(name) for name in gradient]

    def by_meaning(grad: Tensor, *args: Any) -> Any:
        return _one_or_all(_differentiate(meaning, wrt, grad, args[:count]))

    def fake(grad: Tensor, *args: Any) -> Any:
        return _one_or_all([_empty_like(grad, args[i]) for i in wrt])

    backward_op = _define(_gradient_schema(op, wrt, saved), by_meaning, fake)

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        kept = tuple(output[1 : 1 + saved]) if saved else ()
        ctx.mark_non_differentiable(*kept)
        leaves, ctx.spec = pytree.tree_flatten((*inputs, *kept))
        ctx.save_for_backward(*[leaf for leaf in leaves if isinstance(leaf, Tensor)])
        ctx.leaves = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        ctx.is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]

    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        tensors = iter(ctx.saved_tensors)
        leaves = [
            next(tensors) if is_tensor else leaf
            for leaf, is_tensor in zip(ctx.leaves, ctx.is_tensor, strict=True)
        ]
        args = pytree.tree_unflatten(leaves, ctx.spec)
        if torch.is_grad_enabled():  # a second derivative is wanted
            grads = _differentiate(meaning, wrt, grad, args[:count], twice=True)
        elif grad.is_cuda and torch.are_deterministic_algorithms_enabled():
            grads = _differentiate(meaning, wrt, grad, args[:count])
        else:
            grads = backward_op(grad.contiguous(), *args)
            grads = grads if len(wrt) > 1 or isinstance(grads, tuple) else [grads]
        result: list[Any] = [None] * count
        for i, value in zip(wrt, grads, strict=True):
            result[i] = None if args[i] is None else value
        return tuple(result)

    torch.library.register_autograd(op._name, backward, setup_context=setup_context)


def _gradient_schema(op: Any, wrt: Sequence[int], saved: int) -> str:
    text = str(op._schema).removeprefix("okulo::")
    name, inputs = text[: text.rindex(") ->")].split("(", 1)
    kept = "".join(f", Tensor saved{i}" for i in range(saved))
    kinds = [str(op._schema.arguments[i].type) for i in wrt]
    returns = ", ".join("Tensor[]" if kind.startswith("List") else "Tensor" for kind in kinds)
    return f"{name}_backward(Tensor grad, {inputs}{kept}) -> ({returns})"


def _differentiate(
    meaning: Meaning, wrt: Sequence[int], grad: Tensor, args: Sequence[Any], twice: bool = False
) -> list[Any]:
    """PyTorch's derivative of ``meaning`` by the arguments ``wrt``, times ``grad``."""
    # Leaving inference mode also undoes that PyTorch calls a kernel with autograd switched off.
    with torch.inference_mode(False), torch.enable_grad():
        args, grad = list(_map_tensors(_recordable, list(args))), _recordable(grad)
        if not twice:  # cut off from whatever graph the inputs come from
            for i in wrt:
                args[i] = _map_tensors(lambda t: t.detach().requires_grad_(), args[i])
        output = meaning(*args)
        output = output[0] if isinstance(output, (tuple, list)) else output
        leaves = [t for i in wrt for t in pytree.tree_leaves(args[i]) if _wants_gradient(t)]
        found: Sequence[Tensor | None] = [None] * len(leaves)
        if leaves and output.requires_grad:
            found = torch.autograd.grad(output, leaves, grad, create_graph=twice, allow_unused=True)
    by_leaf = {id(leaf): value for leaf, value in zip(leaves, found, strict=True)}

    def gradient_of(t: Tensor) -> Tensor:
        value = by_leaf.get(id(t))
        return torch.zeros_like(t) if value is None else value

    return [
        _map_tensors(gradient_of, args[i]) if args[i] is not None else grad.new_empty(0)
        for i in wrt
    ]


def _recordable(t: Tensor) -> Tensor:
    return t.clone() if t.is_inference() else t


def _wants_gradient(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _empty_like(grad: Tensor, value: Any) -> Any:
    if value is None:
        return grad.new_empty(0)
    return _map_tensors(lambda t: t.new_empty(t.shape), value)


def _map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    return pytree.tree_map_only(Tensor, function, value)


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def _register_autocast(name: str, op: Any, device: str, to: Literal["float32", "lower"]) -> None:
    def cast_and_call(*args: Any) -> Any:
        dtype = torch.float32 if to == "float32" else torch.get_autocast_dtype(device)

        def cast(t: Tensor) -> Tensor:
            wants = t.is_floating_point() and t.dtype != torch.float64 and t.device.type == device
            return t.to(dtype) if wants else t

        with torch.autocast(device, enabled=False):
            return op(*_map_tensors(cast, args))

    torch.library.impl(name, f"Autocast{device.upper()}")(cast_and_call)
