"""Modules on sparse tensors, and chains of them with modules on features."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from okulo_ops.sparse._tensor import SparseConvTensor

__all__ = ["SparseModule", "SparseSequential"]


class SparseModule(nn.Module):
    """Marks modules that take and return a sparse tensor."""


class SparseSequential(SparseModule):
    """A chain: sparse modules get the sparse tensor, all others its (N, C) features.

    Args:
        args: Modules, or one ordered dict of them.
        kwargs: Modules by name, after ``args``.
    """

    def __init__(self, *args: Any, **kwargs: nn.Module) -> None:
        super().__init__()
        single = len(args) == 1 and isinstance(args[0], OrderedDict)
        named = args[0] if single else {str(i): module for i, module in enumerate(args)}
        for name, module in (*named.items(), *kwargs.items()):
            if name in self._modules:
                raise ValueError(f"two modules are called {name!r}; rename one")
            self.add_module(name, module)

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, index: int) -> nn.Module:
        return list(self.children())[index]

    def add(self, module: nn.Module, name: str | None = None) -> None:
        """Append a module; its name is its number unless given."""
        name = str(len(self)) if name is None else name
        if name in self._modules:
            raise ValueError(f"there is a module {name!r} already; use another name")
        self.add_module(name, module)

    def forward(self, input: SparseConvTensor) -> SparseConvTensor:
        for module in self.children():
            if isinstance(module, SparseModule):
                input = module(input)
            elif len(input.features):
                input = input.replace(module(input.features))
        return input
