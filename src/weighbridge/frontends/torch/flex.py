"""Flex attention: attention whose scores pass a function of the network's own, over a table of blocks.

`torch.nn.attention.flex_attention` compiles the function into a kernel. Here it stays one operator, as
other attention does. What is scored are whole blocks, of 128 queries and keys as a rule: those that the
table (`BlockMask`) lists. Without data the table is empty, but it keeps the function that it was made
with: asked again, on the CPU and a strip of queries at a time, that says which blocks there are. What is
done to each score is found by letting the function run on one.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ...ops import Cost, rule_of
from ...program import AttributeValue, Op
from .attention import whole
from .recording import Recorder

NAME = "higher_order.flex_attention"

MOST_PAIRS = 2**28
"""Pairs that a mask's function is asked about: some seconds of a CPU's time."""

_STRIP = 2**22
"""Pairs that it is asked about at once, which bounds the memory for the answers."""

_NO_TABLE = 1 << 30
"""The size of the one block of a table that PyTorch puts where none was given."""

Function: TypeAlias = Callable[..., Tensor]


def dense(name: str) -> Callable[..., Any]:
    """PyTorch's own plain implementation of an operator over functions."""
    kernels = getattr(torch.ops.higher_order, name).py_kernels
    kernel: Callable[..., Any] = kernels[torch._C.DispatchKey.CompositeExplicitAutograd]
    return kernel


@contextmanager
def on_any_device() -> Iterator[None]:
    """Lets flex attention be called where PyTorch has no kernel for it, as on meta, and uncompiled."""
    module: Any = sys.modules.get("torch.nn.attention.flex_attention")
    if module is None:
        yield
        return
    before = module._validate_device
    module._validate_device = lambda *_: None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
            warnings.filterwarnings("ignore", "_compile flag on create_block_mask")
            yield
    finally:
        module._validate_device = before


class Table(NamedTuple):
    """The parts of a `BlockMask` that are looked at, out of what `BlockMask.as_tuple` returns.

    Tables are (b, h, rows) and (b, h, rows, columns), b and h being 1 where all samples or heads share them.
    """

    counts: Tensor
    indices: Tensor
    full_counts: Tensor | None
    full_indices: Tensor | None
    rows: int
    columns: int
    function: Function


class FlexAttention:
    """Stands in for PyTorch's operator while one network runs. `remark` is told what is not exact."""

    def __init__(self, recorder: Recorder, remark: Callable[[str], None]) -> None:
        self.recorder = recorder
        self.remark = remark
        self._scored: dict[tuple[object, ...], int | None] = {}

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        score_mod: Function,
        block_mask: tuple[Any, ...],
        scale: float,
        kernel_options: dict[str, Any],
        *buffers: tuple[Any, ...],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q (B, H, S, E), k (B, G, T, E), v (B, G, T, F) -> y (B, H, S, F), and log-sum-exp and largest
        score (B, H, S).
        """
        attributes: dict[str, AttributeValue] = {"causal": False}
        table = Table(*block_mask[2:6], *block_mask[-3:])
        if table.rows < _NO_TABLE:
            scored = self._pairs(table, q, k)
            if scored is not None:
                attributes["pairs"] = scored
        link = self._score(score_mod, q, attributes)

        def values() -> tuple[Tensor, Tensor]:
            compute = dense("flex_attention")
            with _disable_current_modes(), torch.no_grad():
                y, sums, _ = compute(
                    q, k, v, score_mod, block_mask, scale, kernel_options, *buffers
                )
            return y, sums

        y, sums = whole(
            self.recorder, q, k, v, name=NAME, attributes=attributes, values=values, link=link
        )
        with self.recorder.muted():
            largest = torch.empty_like(sums)
        return y, sums, largest

    def _pairs(self, table: Table, q: Tensor, k: Tensor) -> int | None:
        """Pairs in the blocks of the table, over all heads and samples; None where nobody can say."""
        key = (table.function, table.counts.shape, q.shape[:-1], k.shape[-2])
        if key not in self._scored:
            self._scored[key] = self._found(table, q, k)
        return self._scored[key]

    def _found(self, table: Table, q: Tensor, k: Tensor) -> int | None:
        samples, heads, queries, keys = *q.shape[:-1], k.shape[-2]
        shared = (samples // table.counts.shape[0]) * (heads // table.counts.shape[1])
        found: int | None = None
        try:
            with _disable_current_modes(), torch.no_grad():
                if table.counts.device.type != "meta":
                    found = _listed(table, queries, keys)
                else:
                    found = _asked(table, queries, keys)
        except Exception:  # a function of the network's own: it may need anything
            pass
        if found is None:
            self.remark(
                "flex attention's block mask has no values, and its function cannot be asked: the full "
                "square is counted"
            )
            return None
        # A query that sees nothing has a result all the same, of one key's worth.
        return max(found * shared, samples * heads * queries)

    def _score(
        self, score_mod: Function, q: Tensor, attributes: dict[str, AttributeValue]
    ) -> Tensor | None:
        """Enters what is done to each score; returns what ties the result to tensors that it learns."""
        from torch.nn.attention import flex_attention

        if score_mod is flex_attention._identity:
            return None
        wanted = torch.is_grad_enabled()
        trial = Recorder(self.recorder.scopes, home=self.recorder.home)
        link: Tensor | None = None
        try:
            with self.recorder.muted():
                on_one = flex_attention._vmap_for_bhqkv(score_mod, prefix=(0,))
                score = q.new_zeros((1, 1, 1, 1), dtype=torch.float32)
                place = torch.zeros(1, dtype=torch.int64, device=q.device)
                with trial, _getitem_as_index():
                    result = on_one(score, place, place, place, place)
                link = result if result.requires_grad else None
                forward = tuple(trial.ops)
                if wanted:
                    score.requires_grad_()
                    with _getitem_as_index():
                        result = on_one(score, place, place, place, place)
                    with trial:
                        torch.autograd.grad(
                            result, score, torch.ones_like(result), allow_unused=True
                        )
        except Exception:  # as above
            self.remark(f"flex attention's {_name(score_mod)} cannot be looked into: not counted")
            return None
        attributes["score"] = self._arithmetic(forward, score_mod)
        if wanted:
            attributes["score_backward"] = self._arithmetic(trial.ops[len(forward) :], score_mod)
        return link

    def _arithmetic(self, ops: tuple[Op, ...] | list[Op], score_mod: Function) -> tuple[int, ...]:
        """Multiplications, additions, comparisons, divisions and transcendental functions."""
        total = Cost()
        for op in ops:
            rule = rule_of(op.kind)
            if rule is None:
                self.remark(f"{op.kind} in flex attention's {_name(score_mod)} is not counted")
            else:
                total = total + rule.arithmetic(op)
        return (
            total.multiplications,
            total.additions,
            total.comparisons,
            total.divisions,
            total.transcendentals,
        )


def _listed(table: Table, queries: int, keys: int) -> int:
    """Pairs in the blocks that a table with values lists, those at the edges being smaller."""
    from torch.nn.attention import flex_attention

    columns = -(-keys // table.columns)
    heights, widths = _sides(queries, table.rows), _sides(keys, table.columns)
    total = 0
    for counts, indices in (
        (table.counts, table.indices),
        (table.full_counts, table.full_indices),
    ):
        if counts is not None and indices is not None:
            blocks = flex_attention._ordered_to_dense(counts, indices, columns)
            total += int((blocks * heights[: blocks.shape[-2], None] * widths).sum())
    return total


def _asked(table: Table, queries: int, keys: int) -> int | None:
    """Pairs in the blocks in which the table's function lets any pair through."""
    from torch.nn.attention import flex_attention

    samples, heads = table.counts.shape[:2]
    if samples * heads * queries * keys > MOST_PAIRS:
        return None
    widths = _sides(keys, table.columns)
    strip = max(_STRIP // (samples * heads * keys * table.rows), 1) * table.rows
    total = 0
    for first in range(0, queries, strip):
        height = min(strip, queries - first)

        def shifted(b: Tensor, h: Tensor, i: Tensor, j: Tensor, first: int = first) -> Tensor:
            return table.function(b, h, i + first, j)

        mask = flex_attention.create_mask(shifted, samples, heads, height, keys, device="cpu")
        edges = (0, -keys % table.columns, 0, -height % table.rows)
        padded = torch.nn.functional.pad(mask, edges)
        down, across = padded.shape[-2] // table.rows, padded.shape[-1] // table.columns
        blocks = padded.reshape(samples, heads, down, table.rows, across, table.columns)
        any_seen = blocks.any(dim=-1).any(dim=-2)  # (b, h, down, across)
        total += int((any_seen * _sides(height, table.rows)[:, None] * widths).sum())
    return total


def _sides(length: int, block: int) -> Tensor:
    """The lengths of blocks that divide the length, the last of which may be shorter."""
    whole_ones, rest = divmod(length, block)
    return torch.tensor([block] * whole_ones + [rest] * (rest > 0), dtype=torch.int64)


def _getitem_as_index() -> Any:
    """PyTorch's own way to let `table[h]` be an operator where h is a tensor without a value."""
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    return TransformGetItemToIndex()


def _name(function: Function) -> str:
    return getattr(function, "__name__", type(function).__name__)
