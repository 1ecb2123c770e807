"""A scale for any PyTorch code: whatever runs in the block is weighed.

    with weighbridge.scale() as scale:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    print(scale.report())

The code runs as it would without: tensors with data are computed with, tensors on `meta` are not.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, final

from .analyses.compute import CONVENTIONS, Convention
from .analyses.weighing import Weighing
from .api import Report
from .errors import UsageError, nearest

if TYPE_CHECKING:
    from .frontends.torch.scale import Loaded

_IN_USE: list[Scale] = []
"""The scale that is entered, if one is: operators cannot be written down twice."""


def scale(name: str = "code") -> Scale:
    """A scale to run code on: `with weighbridge.scale() as scale: ...`.

    `name` is what the report calls the code.

    Raises:
        UsageError: PyTorch is not installed.
    """
    if find_spec("torch") is None:
        raise UsageError("PyTorch is not installed", "try: pip install 'weighbridge[torch]'")
    return Scale(name)


@final
class Scale:
    """Weighs the PyTorch code that runs while it is entered: forward, loss, backward, optimizer steps.

    Modules are told apart by name: the first of a class by the class, `resnet`, later ones with a number.
    After an exception, which goes on its way, the report is of what ran until then, and says so.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._loaded: Loaded | None = None

    def __enter__(self) -> Scale:
        """Begins to weigh.

        Raises:
            UsageError: another scale is weighing, or this one has weighed already.
        """
        if _IN_USE:
            raise UsageError(
                "a scale is weighing already, and operators are weighed once",
                "leave that block first, or use its scale for both",
            )
        if self._loaded is not None:
            raise UsageError(
                "this scale has weighed already", "make another: with weighbridge.scale() as scale:"
            )
        from .frontends.torch.scale import Loaded

        loaded = Loaded()
        loaded.enter()
        self._loaded = loaded
        _IN_USE.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops weighing; an exception goes on its way."""
        assert self._loaded is not None
        _IN_USE.remove(self)
        self._loaded.leave(error)

    def report(self, *, convention: Convention = "macs") -> Report:
        """What ran: a report as :func:`weighbridge.weigh` returns it.

        The batch is the first axis of the first tensor that was there before.

        Raises:
            UsageError: the block has not been left yet or not been entered, or no convention is called so.
        """
        if self._loaded is None or self in _IN_USE:
            raise UsageError(
                "nothing has been weighed yet",
                "ask for the report after the block: with weighbridge.scale() as scale: ...",
            )
        if convention not in CONVENTIONS:
            near = nearest(str(convention), tuple(CONVENTIONS))
            raise UsageError(
                f"no convention is called {convention!r}",
                *([f"nearest: {', '.join(near)}"] if near else []),
                f"there are: {', '.join(CONVENTIONS)}",
            )
        return Report(Weighing(program=self._loaded.program(self.name), convention=convention))
