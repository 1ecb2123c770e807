"""A weighing: everything that was found about one program, as plain data.

:meth:`Weighing.to_dict` is the JSON contract `weighbridge/1`: keys are added and never renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import StrictError
from ..ops import Cost
from ..program import PHASES, Op, Phase, Program
from ..units import plural
from .compute import CONVENTIONS, Compute, Convention, compute, counted_by, op_costs
from .layers import Layer, layers
from .parameters import Parameters, parameters

if TYPE_CHECKING:
    from .memory.timeline import Timeline
    from .memory.usage import Memory
    from .space import Space

SCHEMA = "weighbridge/1"

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """One program, weighed. Figures are worked out when first asked for, and kept.

    Queries: :meth:`layers` by module at any depth, :meth:`by_operator` by kind, `compute` by phase,
    `compute.uncounted` for what has no rule.
    """

    program: Program
    convention: Convention = "macs"
    extra_warnings: tuple[str, ...] = field(default=())

    @cached_property
    def costs(self) -> tuple[Cost | None, ...]:
        """The cost of each operator, None where it has no rule."""
        return op_costs(self.program)

    @cached_property
    def compute(self) -> Compute:
        return compute(self.program, self.costs)

    @cached_property
    def parameters(self) -> Parameters:
        return parameters(self.program)

    @cached_property
    def space(self) -> Space:
        from .space import space

        return space(self.program)

    @cached_property
    def memory(self) -> Memory:
        """Tensors over the steps of a loop: timeline, peak, what is alive there."""
        from .memory.usage import Memory

        return Memory(program=self.program)

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self.program.warnings, *self.extra_warnings)

    def layers(self, depth: int | None = None) -> tuple[Layer, ...]:
        """The cost by module, folded to the depth."""
        if depth not in self._layers:
            self._layers[depth] = layers(self.program, self.costs, depth=depth)
        return self._layers[depth]

    @cached_property
    def _layers(self) -> dict[int | None, tuple[Layer, ...]]:
        return {}

    def by_operator(self, phase: Phase | None = None) -> Mapping[str, tuple[int, Cost]]:
        """From the kind of operator to how often it ran and what that cost, dearest first."""
        groups: dict[str, list[Cost]] = {}
        for op, cost in zip(self.program.ops, self.costs, strict=True):
            if phase is None or op.phase == phase:
                groups.setdefault(op.kind, []).append(cost or Cost())
        totals = {kind: (len(entries), Cost.total(entries)) for kind, entries in groups.items()}
        return dict(sorted(totals.items(), key=lambda entry: -entry[1][1].operations))

    @cached_property
    def _counts(self) -> Mapping[int, int]:
        """Each operator's operations by the convention. Conventions look at one operator at a time:
        a row's figure is the sum of its operators' figures, not a function of their summed cost."""
        return {
            id(op): 0 if cost is None else counted_by(self.convention, (cost,))
            for op, cost in zip(self.program.ops, self.costs, strict=True)
        }

    def operations(self, ops: Iterable[Op], phase: Phase | None = None) -> int:
        """The operations of some of the program's operators by the weighing's convention.

        `phase` takes only those of one phase; the unit is `unit`.
        """
        return sum(self._counts[id(op)] for op in ops if phase is None or op.phase == phase)

    def total(self, phase: Phase) -> int:
        """The operations of a phase by the weighing's convention; the unit is `unit`."""
        return self.operations(self.program.ops, phase)

    @property
    def unit(self) -> str:
        return CONVENTIONS[self.convention]

    def check_strict(self) -> None:
        """Refuses a weighing that is not whole.

        Raises:
            StrictError: an operator has no rule, or the program stopped half-way.
        """
        if not self.program.complete:
            raise StrictError("the network stopped half-way", *self.program.warnings)
        if self.compute.uncounted:
            raise StrictError(
                f"{plural(sum(entry.count for entry in self.compute.uncounted), 'operator')} "
                "not counted: "
                + ", ".join(
                    f"{entry.op} ({plural(entry.count, 'time')})"
                    for entry in self.compute.uncounted
                ),
                "give it a rule (weighbridge.rule), or leave out --strict to see the rest",
            )

    def to_dict(self) -> dict[str, Json]:
        """The JSON contract."""
        counts = self.counts()
        held = counts["memory"]
        assert isinstance(held, dict)
        return {**counts, "memory": {**held, **self._steps()}}

    def counts(self) -> dict[str, Json]:
        """The contract without what happens over time: the peaks of the steps."""
        program, found = self.program, self.compute
        workload = program.workload
        params, held = self.parameters, self.space
        return {
            "schema": SCHEMA,
            "network": {
                "name": program.network,
                "source": program.source,
                "frontend": program.frontend,
                "rung": program.rung,
                "complete": program.complete,
            },
            "workload": {
                "mode": workload.mode,
                "batch": workload.batch,
                "inputs": [
                    {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype}
                    for tensor in program.inputs
                ],
                "dtype": workload.dtype,
                "precision": workload.precision,
                "backend": workload.backend,
                "optimizer": None
                if workload.optimizer is None
                else {
                    "name": workload.optimizer.name,
                    "implementation": workload.optimizer.implementation,
                    **workload.optimizer.settings,
                },
                "learning_rule": workload.learning_rule,
                "dataset": workload.dataset,
                "loss": workload.loss if workload.training else None,
                "input_gradient": workload.input_gradient,
                "accumulation": workload.accumulation,
                "trained": list(workload.trained),
                "checkpointing": workload.checkpointing,
                "set_to_none": workload.set_to_none,
                "no_grad": workload.no_grad,
                "per_sample_gradients": workload.per_sample_gradients,
                "layout": workload.layout,
                "compiled": workload.compiled,
                "threads": workload.threads,
            },
            "parameters": {
                "total": params.total,
                "trainable": params.trainable,
                "frozen": params.frozen,
                "shared": params.shared,
                "buffers": params.buffers,
                "bytes": params.bytes,
                "buffer_bytes": params.buffer_bytes,
            },
            "compute": {
                "convention": self.convention,
                "unit": self.unit,
                **{
                    phase: {**_cost(found.phase(phase)), "operations": self.total(phase)}
                    for phase in PHASES
                },
                "operators": found.operators,
                "counted": found.counted,
            },
            "memory": {
                "weights_bytes": held.weights_bytes,
                "buffer_bytes": held.buffer_bytes,
                "gradient_bytes": held.gradient_bytes,
                "optimizer_state_bytes": held.optimizer_state_bytes,
                "activation_bytes": held.activation_bytes,
                "saved_bytes": held.saved_bytes,
                "textbook": {
                    "weights_bytes": held.textbook.weights_bytes,
                    "activation_bytes": held.textbook.activation_bytes,
                    "per_sample_gradients_bytes": held.textbook.per_sample_gradients_bytes,
                    "summed_gradients_bytes": held.textbook.summed_gradients_bytes,
                },
            },
            "layers": [self._layer(layer) for layer in self.layers()],
            "uncounted": [
                {"op": entry.op, "count": entry.count, "bytes": entry.bytes}
                for entry in found.uncounted
            ],
            "warnings": list(self.warnings),
        }

    def _steps(self) -> dict[str, Json]:
        """The peaks of a loop's steps; nothing where no operator ran."""
        if not self.program.ops:
            return {}
        usage = self.memory
        return {
            "peak_bytes": usage.peak_bytes,
            "first_step": _step(usage.first),
            "later_steps": _step(usage.later),
        }

    def _layer(self, layer: Layer) -> dict[str, Json]:
        return {
            "scope": layer.scope,
            "kind": layer.kind,
            "inputs": [list(shape) for shape in layer.inputs],
            "outputs": [list(shape) for shape in layer.outputs],
            "params": layer.params,
            "trainable_params": layer.trainable_params,
            "activation_bytes": layer.activation_bytes,
            "operators": layer.operators,
            "uncounted": layer.uncounted,
            **{
                phase: {
                    **_cost(getattr(layer, phase)),
                    "operations": self.operations(layer.ops, phase),
                }
                for phase in PHASES
            },
        }


def _step(step: Timeline) -> dict[str, Json]:
    peak = step.peak
    return {
        "peak_bytes": peak.bytes,
        "operator": peak.operator,
        "name": peak.name,
        "scope": peak.scope,
        "phase": peak.phase,
        **{f"{category}_bytes": size for category, size in peak.by_category().items()},
        "kept_bytes": step.kept,
    }


def _cost(cost: Cost) -> dict[str, Json]:
    return {
        "multiplications": cost.multiplications,
        "additions": cost.additions,
        "other": cost.other,
        "comparisons": cost.comparisons,
        "divisions": cost.divisions,
        "transcendentals": cost.transcendentals,
        "macs": cost.macs,
        "masked_macs": cost.masked_macs,
        "flops": cost.flops,
        "read_bytes": cost.read_bytes,
        "write_bytes": cost.write_bytes,
    }
