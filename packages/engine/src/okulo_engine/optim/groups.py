"""Parameter groups: which learning rate and weight decay each parameter gets."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

__all__ = ["get_default_optimizer_params", "reduce_param_groups"]

NORM_LAYERS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)


def get_default_optimizer_params(
    model: nn.Module,
    base_lr: float | None = None,
    weight_decay: float | None = None,
    weight_decay_norm: float | None = None,
    bias_lr_factor: float | None = 1.0,
    weight_decay_bias: float | None = None,
    lr_factor_func: Callable[[str], float] | None = None,
    overrides: Mapping[str, Mapping[str, float]] | None = None,
) -> list[dict[str, Any]]:
    """Sort the trainable parameters of a model into groups for a ``torch.optim`` optimiser.

    A parameter is taken once, under its first name, however often it is shared. What is None is
    left to the optimiser's own defaults.

    Args:
        model: Parameters with ``requires_grad`` are taken.
        base_lr: Learning rate.
        weight_decay: Weight decay.
        weight_decay_norm: Weight decay of the parameters of normalisation layers.
        bias_lr_factor: Factor on ``base_lr`` for parameters named ``bias``.
        weight_decay_bias: Weight decay of parameters named ``bias``.
        lr_factor_func: From the full name of a parameter to a factor on its learning rate.
        overrides: Options by the last part of a parameter's name, such as
            ``{"embedding": {"weight_decay": 0.0}}``; they win over the rest.

    Returns:
        Groups of parameters with equal options, in order of first appearance.

    Raises:
        ValueError: If a factor is given without ``base_lr``, or biases are given options twice.
    """
    special = _with_bias_options(overrides or {}, base_lr, bias_lr_factor, weight_decay_bias)
    if lr_factor_func is not None and base_lr is None:
        raise ValueError("lr_factor_func multiplies base_lr, but base_lr is None; give base_lr")

    params: list[dict[str, Any]] = []
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        decay = weight_decay_norm if isinstance(module, NORM_LAYERS) else None
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            options = _options(lr=base_lr, weight_decay=weight_decay) | _options(weight_decay=decay)
            options |= special.get(name, {})
            if lr_factor_func is not None:
                options["lr"] *= lr_factor_func(f"{prefix}.{name}" if prefix else name)
            params.append({"params": [parameter], **options})
    return reduce_param_groups(params)


def reduce_param_groups(params: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Merge groups whose options are equal.

    Args:
        params: Groups as ``torch.optim`` takes them; ``params`` is a list of parameters, and
            ``param_names``, where given, names them one by one. A parameter that stands in
            several groups gets the options of them all, the last ones winning.

    Returns:
        Groups with different options, in order of first appearance.
    """
    options_of: dict[nn.Parameter, dict[str, Any]] = {}
    name_of: dict[nn.Parameter, str] = {}
    for group in params:
        options = {key: v for key, v in group.items() if key not in ("params", "param_names")}
        for parameter in group["params"]:
            options_of[parameter] = options_of.get(parameter, {}) | options
        if "param_names" in group:
            name_of.update(zip(group["params"], group["param_names"], strict=True))

    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for parameter, options in options_of.items():
        group = groups.setdefault(tuple(sorted(options.items())), {"params": [], **options})
        group["params"].append(parameter)
        if parameter in name_of:
            group.setdefault("param_names", []).append(name_of[parameter])
    return list(groups.values())


def _with_bias_options(
    overrides: Mapping[str, Mapping[str, float]],
    base_lr: float | None,
    factor: float | None,
    decay: float | None,
) -> dict[str, Mapping[str, float]]:
    options = _options(weight_decay=decay)
    if factor is not None and factor != 1.0:
        if base_lr is None:
            raise ValueError(
                f"bias_lr_factor multiplies base_lr, but base_lr is None; "
                f"give base_lr or leave out bias_lr_factor, got {factor}"
            )
        options["lr"] = base_lr * factor
    if options and "bias" in overrides:
        raise ValueError(
            f"biases are given options twice: by overrides['bias'] = {dict(overrides['bias'])} and "
            f"by bias_lr_factor or weight_decay_bias = {options}; leave out one of them"
        )
    return {**overrides, "bias": options} if options else dict(overrides)


def _options(**values: float | None) -> dict[str, float]:
    return {key: value for key, value in values.items() if value is not None}
