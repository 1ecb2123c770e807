"""Scopes: which module an operator belongs to, in forward and in backward.

In forward, hooks on *every* module of the process (none is left on the user's) keep a stack of those
that are running. Backward runs no modules, but autograd numbers its nodes in the order in which
forward made them: noting the number at each change of module tells later which module made a node.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from .twin import names_of


class Scopes:
    """The modules of a network by name, and the one that is running.

    Without a model, a function is the network, and modules that it runs are named as they turn up.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self.modules: dict[str, nn.Module] = {}
        self.tensor_names: dict[int, str] = {}
        self.weights: set[int] = set()  # those that are no parameters, by their ids
        self._names: dict[int, str] = {}
        self._open = model is None
        if model is not None:
            self._name("", model)
        self._stack: list[tuple[int, str]] = []
        self._numbers: list[int] = []
        self._scopes: list[str] = []
        # By its number: holding the exception would hold every tensor of the frames that it went through.
        self._error: int | None = None
        self._raised_in = ""
        self._mark("")

    @property
    def current(self) -> str:
        """The dotted path of the running module, '' for the network itself."""
        return self._stack[-1][1] if self._stack else ""

    @property
    def running(self) -> bool:
        """Whether any module is running."""
        return bool(self._stack)

    def of_node(self, number: int) -> str:
        """The scope in which autograd's node of that sequence number was made."""
        return self._scopes[bisect_right(self._numbers, number) - 1]

    def _mark(self, scope: str) -> None:
        self._numbers.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
        self._scopes.append(scope)

    def _name(self, prefix: str, model: nn.Module) -> None:
        for name, module in model.named_modules(prefix=prefix):
            # A module that stands in several places is known by its first name.
            self._names.setdefault(id(module), name)
            self.modules[name] = module
        names = names_of(model)
        dotted = f"{prefix}." if prefix else ""
        self.weights.update(id(tensor) for tensor in names.weights.values())
        for held in (names.parameters, names.buffers, names.weights):
            for name, tensor in held.items():
                self.tensor_names.setdefault(id(tensor), dotted + name)

    def _enter(self, module: nn.Module, _: object) -> None:
        scope = self._names.get(id(module))
        if scope is None and self._open and not self._stack:
            kind = type(module).__name__.lower()
            scope = kind if kind not in self.modules else f"{kind}_{len(self.modules)}"
            self._name(scope, module)
        # A module made while the network runs has no name of its own: it is part of who made it.
        self._push(id(module), self.current if scope is None else scope)

    def _leave(self, module: nn.Module, _: object, __: object) -> None:
        error = sys.exc_info()[1]
        if error is not None and id(error) != self._error:
            # The innermost module leaves first.
            self._error, self._raised_in = id(error), self.current
        while self._stack and self._stack.pop()[0] != id(module):
            pass
        self._mark(self.current)

    def raised_in(self, error: Exception) -> str:
        """The innermost module in which the exception was raised; the one that runs if it was none."""
        return self._raised_in if id(error) == self._error else self.current

    def _push(self, key: int, scope: str) -> None:
        self._stack.append((key, scope))
        self._mark(scope)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follows modules as they run; afterwards no hook is left anywhere."""
        handles = (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def within(self, scope: str) -> Iterator[None]:
        """A part of the step that is no module of the network, such as the loss."""
        self._push(0, scope)
        try:
            yield
        finally:
            self._stack.clear()
            self._mark("")
