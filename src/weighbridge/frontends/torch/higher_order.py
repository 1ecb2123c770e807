"""Higher-order operators: those whose operands are functions, looked through.

PyTorch hands their functions to a compiler. Here they run, so that what they do is written down like
anything else:

- `torch.cond` takes its costlier branch where the condition has no value.
- `torch.while_loop` runs as often as its condition says; a condition without a value asks for data.
- `map` and `scan` run their function once for each row, `associative_scan` on ever fewer pairs of rows, as
  PyTorch does where it does not compile.
- `flex_attention` is taken whole (`flex`).

What PyTorch itself takes apart (`vmap` over an `autograd.Function`) passes. Any other is refused by name:
what it would run is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.utils._pytree import tree_map

from ...errors import WeighError
from ...ops import Cost, rule_of
from .flex import FlexAttention, dense
from .recording import Recorder

Function: TypeAlias = Callable[..., Any]

Beside: TypeAlias = Callable[[Recorder], AbstractContextManager[object]]
"""What a function must run in for another recorder to see it as the network's own would be."""


class HigherOrder:
    """Runs higher-order operators while one network runs.

    `again` is what the network itself runs in, entered around functions. `remark` is told of choices.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        again: Callable[[], AbstractContextManager[object]],
        beside: Beside,
        remark: Callable[[str], None],
    ) -> None:
        self.recorder = recorder
        self.again = again
        self.beside = beside
        self.remark = remark
        self._flex = FlexAttention(recorder, remark)
        self._runs: dict[str, Callable[..., object]] = {
            "flex_attention": self._flex,
            "cond": self._cond,
            "while_loop": self._while_loop,
            "map_impl": self._map,
            "scan": self._scan,
            "associative_scan": self._associative_scan,
        }

    def run(self, operator: HigherOrderOperator, *args: Any, **kwargs: Any) -> object:
        """What the operator returns.

        Raises:
            WeighError: it is none that is known here, nor one that PyTorch takes apart itself.
        """
        name: str = operator._name
        if name in self._runs:
            return self._runs[name](*args, **kwargs)
        try:
            return operator(*args, **kwargs)
        except NotImplementedError as error:
            if "HigherOrderOperator" not in str(error):
                raise
            raise WeighError(
                f"the network runs {name}, an operator over functions that is not looked into",
                f"those that are: {', '.join(sorted(self._runs))}",
                "write it with PyTorch's plain operators, or leave it out",
            ) from error

    def _cond(
        self, condition: Any, if_true: Function, if_false: Function, operands: Sequence[Any]
    ) -> object:
        """One of two functions. Without a value to choose by, the one that costs more."""
        if isinstance(condition, Tensor) and condition.device.type == "meta":
            costs = [self._cost(branch, operands) for branch in (if_true, if_false)]
            chosen = if_true if costs[0] >= costs[1] else if_false
            scope = self.recorder.scopes.current
            self.remark(
                f"torch.cond{' in ' + scope if scope else ''} asks for a value: the costlier of its "
                "branches is counted"
            )
        else:
            chosen = if_true if condition else if_false
        with self.again():
            return chosen(*operands)

    def _cost(self, branch: Function, operands: Sequence[Any]) -> tuple[int, int, int]:
        """MACs, arithmetic and bytes of a branch, which runs aside for it."""
        trial = Recorder(self.recorder.scopes, home=self.recorder.home)
        with self.recorder.muted(), torch.no_grad(), self.beside(trial):
            branch(*operands)
        rules = ((rule_of(op.kind), op) for op in trial.ops)
        total = sum((rule.cost(op) for rule, op in rules if rule is not None), Cost())
        return total.macs, total.operations, total.traffic_bytes

    def _while_loop(
        self,
        condition: Function,
        body: Function,
        carried: Sequence[Any],
        additional: Sequence[Any] = (),
    ) -> tuple[Any, ...]:
        """A function as often as a condition holds."""
        with self.again():
            while condition(*carried, *additional):
                carried = body(*carried, *additional)
        return tuple(carried)

    def _map(
        self, function: Function, rows: Sequence[Tensor], shared: Sequence[Any], **_: object
    ) -> object:
        """A function of each row of (n, ...), its results put together."""
        with self.again():
            results = [function(*row, *shared) for row in _rows(rows)]
            return tree_map(lambda *each: torch.stack(each), *results)

    def _scan(
        self,
        combine: Function,
        carried: Sequence[Tensor],
        rows: Sequence[Tensor],
        additional: Sequence[Any] = (),
    ) -> list[Tensor]:
        """A function of what is carried along and of each row of (n, ...).

        It returns what is carried on, followed by results, which are put together.
        """
        results: list[Sequence[Tensor]] = []
        with self.again():
            for row in _rows(rows):
                made = combine(*carried, *row, *additional)
                carried, result = made[: len(carried)], made[len(carried) :]
                results.append(result)
            return [*carried, *(torch.stack(each) for each in zip(*results, strict=True))]

    def _associative_scan(
        self, combine: Function, rows: Sequence[Tensor], additional: Sequence[Any] = ()
    ) -> object:
        """All that a function makes of the first row, of the first two, of the first three."""
        with self.again():
            return dense("associative_scan")(combine, rows, tuple(additional))


def _rows(tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(tensor.unbind() for tensor in tensors), strict=True)
