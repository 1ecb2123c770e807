"""Recurrent networks, taken whole: every layer, direction and step of one call, as a device's library runs them.

A cell with n inputs, H units and R outputs (R = H unless the outputs are projected) makes G gates of H numbers a
step, each a sum over the inputs and one over the last outputs:

    LSTM, G = 4:  i, f, o = sigmoid, g = tanh;  c = f * c + i * g;  h = o * tanh(c)
    GRU,  G = 3:  r, z = sigmoid, n = tanh(from the inputs + r * from the outputs);  h = n + z * (h - n)
    RNN,  G = 1:  h = tanh or ReLU

A *row* is one step of one sequence: sequences of unequal length, packed, have as many rows as steps together.
What a cell keeps of a row for backward is what PyTorch's fused cells keep: the gates, with them the LSTM's cell
state and the GRU's sum over the last outputs; and the outputs of all layers but the last, which are results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final

from ..dims import Shape, bytes_of, product
from ..program import Op, Tensor
from ..workload import Backend
from .base import Cost, Emit, Gradients, Operator, Scratch, contraction, need, register
from .kernel import Gemm, Kernel

_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
"""Gates of a cell, each as wide as the cell."""

_STATES = {"lstm": 2, "gru": 1, "rnn": 1}
"""Tensors that a cell hands to its next step: h, and of an LSTM c."""

_KEPT = {"lstm": 5, "gru": 4, "rnn": 0}
"""Numbers a unit and row that backward needs: i, f, g, o, c; r, z, n and the sum that r multiplies; none, for
the derivatives of tanh and ReLU follow from the output."""

_STEP: Mapping[str, Cost] = {
    # three sigmoids 1 / (1 + exp(-x)), two tanh; f * c + i * g; o * tanh(c)
    "lstm": Cost(multiplications=3, additions=4, divisions=3, transcendentals=5),
    # two sigmoids, a tanh; r * sum; h - n, times z, plus n
    "gru": Cost(multiplications=2, additions=4, divisions=2, transcendentals=3),
    "tanh": Cost(transcendentals=1),
    "relu": Cost(comparisons=1),
}
"""Elementwise work a unit and row."""

_STEP_BACKWARD: Mapping[str, Cost] = {
    # tanh(c) again; do = dh * tanh(c); dc += dh * o * (1 - tanh^2); di, df, dg and the dc before, a product each;
    # each gate's derivative two products and a subtraction
    "lstm": Cost(multiplications=16, additions=6, transcendentals=1),
    # dz = dh * (h - n), dn = dh * (1 - z), dr = dn * sum, of the sum dn * r, of the last h dh * z, and that added
    # to what comes through the gates; each gate's derivative two products and a subtraction
    "gru": Cost(multiplications=11, additions=6),
    "tanh": Cost(multiplications=2, additions=1),
    "relu": Cost(comparisons=1),
}
"""Elementwise work a unit and row, backward; joining the gradients of a row's uses is counted by the cell."""


_PAGE = 4096
"""Where the parts of oneDNN's workspace begin, in bytes."""


def _padded(width: int) -> int:
    """The numbers in a row of a matrix of oneDNN's: whole lines of 64 bytes, and no multiple of 256 (`get_good_ld`)."""
    lines = -(-width // 16) * 16
    return lines + 16 if lines % 256 == 0 else lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """One layer in one direction: n inputs, and where its weights stand among the operands."""

    inputs: int
    weights: tuple[int, ...]


class _Recurrent(Operator):
    """What forward and backward know of the network: its sizes and its cells."""

    family = "recurrent"
    kernel_class = "recurrent"
    turns = False
    """Whether it reads the weights by rows as well as by columns."""

    def __init__(self, network: str) -> None:
        self.network = network

    def nonlinearity(self, op: Op) -> str:
        return str(op.attributes["nonlinearity"]) if self.network == "rnn" else self.network

    def cells(self, op: Op, x: Tensor) -> Iterator[_Cell]:
        """The cells from the first layer up, the reverse direction of a layer after the other."""
        directions, outputs = op.integer("directions", 1), self.outputs(op)
        count = 2 + 2 * int(op.flag("bias")) + int(self.projected(op))
        place = 1 + _STATES[self.network]
        for layer in range(op.integer("layers", 1)):
            for _ in range(directions):
                yield _Cell(
                    inputs=directions * outputs if layer else x.shape[-1],
                    weights=tuple(range(place, place + count)),
                )
                place += count

    def kernel(self, op: Op) -> Kernel:
        """All of its work as one kernel: the products of a cell's gates, one for each step of each cell."""
        whole = super().kernel(op)
        x, state = op.inputs[:2]
        sequences = state.shape[1]
        steps = -(-product(x.shape[:-1]) // sequences) * len(list(self.cells(op, x)))
        gates = _GATES[self.network] * op.integer("hidden")
        depth = max(1, whole.macs // (steps * sequences * gates))
        return replace(whole, gemm=Gemm(batch=steps, rows=sequences, columns=gates, depth=depth))

    def outputs(self, op: Op) -> int:
        return op.integer("projection", 0) or op.integer("hidden")

    def projected(self, op: Op) -> bool:
        return op.integer("projection", 0) > 0

    def reserve(self, op: Op, rows: int) -> int:
        """Bytes kept for backward beside the results, and of dropout a byte an element."""
        if op.attributes.get("library") == "onednn":
            return self._onednn_reserve(op, rows)
        layers, directions = op.integer("layers", 1), op.integer("directions", 1)
        hidden, outputs = op.integer("hidden"), self.outputs(op)
        between = (layers - 1) * directions * outputs
        unprojected = layers * directions * hidden if self.projected(op) else 0
        kept = layers * directions * hidden * _KEPT[self.network] + between + unprojected
        return bytes_of(rows * kept, op.inputs[0].dtype) + rows * self.dropped(op)

    def _onednn_reserve(self, op: Op, rows: int) -> int:
        """Bytes of the workspace that oneDNN's LSTM keeps, of one layer in one direction.

        It has the gates, the outputs, and twice the states before and after every step, in two layers: once of
        forward and once of their gradients (`set_conf` and `set_offsets` in oneDNN's src/cpu/rnn/rnn_utils).
        """
        x, hidden = op.inputs[0], op.integer("hidden")
        widest = _padded(max(x.shape[-1], hidden))
        states = 2 * (rows + x.shape[1])
        parts = (
            rows * _padded(4 * hidden),
            rows * _padded(hidden),
            *(states * width for width in (widest, widest, widest, hidden, hidden)),
        )
        return sum(-(-bytes_of(part, x.dtype) // _PAGE) * _PAGE for part in parts)

    def scratch(self, op: Op, backend: Backend) -> Scratch:
        """oneDNN's copies of the weights, in backward of their gradients too, and the gates."""
        if op.attributes.get("library") != "onednn":
            return Scratch()
        x, hidden = op.inputs[0], op.integer("hidden")
        gates = _padded(4 * hidden)
        taken = product(x.shape[:-1]) * gates
        for width in (x.shape[-1], hidden):
            taken += width * gates + (4 * hidden * _padded(width) if self.turns else 0)
        return Scratch(running=bytes_of(taken, x.dtype))

    def dropped(self, op: Op) -> int:
        """Numbers a row that dropout between the layers may zero."""
        between = (op.integer("layers", 1) - 1) * op.integer("directions", 1) * self.outputs(op)
        return between if op.flag("dropout") else 0


@final
class Recurrent(_Recurrent):
    """A recurrent network over whole sequences: every layer, direction and step.

    Shapes: x (T, B, n), or (B, T, n) with `batch_first`, or packed rows (N, n); states (layers * directions, B, R),
            of an LSTM also (layers * directions, B, H); then of each cell weights (G*H, n) and (G*H, R), biases
            (G*H) twice where there are, a projection (R, H) where there is
            -> y (..., directions * R), the states at the end, and in training the bytes kept for backward
    Attributes: `hidden` (H), `layers`, `directions`, `bias`, `projection` (R, 0 for none), `batch_first`, `dropout`
            (between layers), `training`, of an RNN `nonlinearity`; `library` 'onednn' where that runs it.
    Counts: a row of a cell G*H*(n + R) products and H*R for a projection; two sums a gate, joined by an addition,
            and one for each bias; the elementwise work of its gates.
    Backward: one operator.
    Limits: weights are read once, as by kernels that keep them on the chip.
    Source: Hochreiter and Schmidhuber 1997 with Gers et al. 2000 (LSTM), Cho et al. 2014 as in cuDNN (GRU); Sak et
            al. 2014 (projection). torch.nn.LSTM, GRU and RNN document the same equations.
    """

    def __init__(self, network: str) -> None:
        super().__init__(network)
        self.kind = network
        self.results = 1 + _STATES[network]

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, *rest = op.inputs
        states = rest[: _STATES[self.network]]
        for cell in self.cells(op, x):
            w = op.inputs[cell.weights[0]].shape
            gates = _GATES[self.network] * op.integer("hidden")
            need(w[0] == gates, f"{self.network} of {gates} gates with weights {w}")
        y = (*x.shape[:-1], op.integer("directions", 1) * self.outputs(op))
        ends = tuple(state.shape for state in states)
        kept = ((self.reserve(op, product(x.shape[:-1])),),) if op.flag("training") else ()
        return (y, *ends, *kept)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        results = (op.inputs[0].dtype,) * self.results
        return (*results, "uint8") if op.flag("training") else results

    def arithmetic(self, op: Op) -> Cost:
        x = op.inputs[0]
        rows, hidden, outputs = product(x.shape[:-1]), op.integer("hidden"), self.outputs(op)
        gates = _GATES[self.network] * hidden
        biases = 2 if op.flag("bias") else 0
        total = Cost()
        for cell in self.cells(op, x):
            macs = rows * gates * (cell.inputs + outputs)
            # the sum over the inputs and the one over the outputs are joined: one addition
            total += contraction(macs, 2 * rows * gates, addends=(1 + biases) * rows * gates)
            total += _STEP[self.nonlinearity(op)] * (rows * hidden)
            if self.projected(op):
                total += contraction(rows * hidden * outputs, rows * outputs)
        dropped = rows * self.dropped(op)
        return total + Cost(multiplications=dropped, comparisons=dropped)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        x, *rest = op.inputs
        states = rest[: _STATES[self.network]]
        steps: tuple[str, ...] = ("T", "B", "n")
        if op.flag("batch_first"):
            steps = ("B", "T", "n")
        packed = len(x.shape) == 2
        named: list[tuple[str | int, ...]] = [("N", "n") if packed else steps]
        named.extend((state.shape[0], "B", state.shape[2]) for state in states)
        first_layer = op.integer("directions", 1)
        firsts = {cell.weights[0] for cell in list(self.cells(op, x))[:first_layer]}
        for place in range(1 + len(states), len(op.inputs)):
            shape = op.inputs[place].shape
            named.append((shape[0], "n") if place in firsts else shape)
        return tuple(named)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        given = tuple(gradient for gradient in grads[: self.results] if gradient is not None)
        made = iter(
            emit(
                f"{self.kind}_backward",
                *op.inputs,
                op.outputs[0],
                *op.outputs[self.results :],
                *given,
                **{**op.attributes, "mask": wanted},
            )
        )
        return tuple(next(made) if want else None for want in wanted)


@final
class RecurrentBackward(_Recurrent):
    """The gradients of a recurrent network: of its input, its first states and its weights, as far as wanted.

    Shapes: the operands of forward, y, the bytes kept, and a gradient for each result that has one -> those of the
            operands that the attribute `mask` asks for.
    Attributes: as forward, and `mask`, a boolean for each operand of forward.
    Counts: with the gates' gradients (G*H a row): the weights' are products of them with inputs and last outputs;
            the inputs' and the last outputs' are products with the weights. The first step of a sequence has no
            last outputs but the first states, and the first layer's inputs are x: those only where wanted.
            A bias' gradient is a sum over the rows; two directions' gradients of one input are added, and at
            every row what comes from above to what comes from the next step.
    Source: backpropagation through time, Werbos 1990; checked against PyTorch's own, step by step.
    """

    turns = True
    kernel_part = "backward"

    def __init__(self, network: str) -> None:
        super().__init__(network)
        self.kind = f"{network}_backward"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return tuple(tensor.shape for tensor in self._wanted(op))

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return tuple(tensor.dtype for tensor in self._wanted(op))

    def _wanted(self, op: Op) -> Iterator[Tensor]:
        return (t for t, want in zip(op.inputs, op.integers("mask"), strict=False) if want)

    def arithmetic(self, op: Op) -> Cost:
        x, first = op.inputs[:2]
        mask = op.integers("mask")
        rows, begun = product(x.shape[:-1]), first.shape[1]
        states_wanted = any(mask[1 : 1 + _STATES[self.network]])
        directions = op.integer("directions", 1)
        total, reached = Cost(), mask[0]  # whether anything below a layer wants a gradient
        cells = list(self.cells(op, x))
        for layer in range(0, len(cells), directions):
            pair = cells[layer : layer + directions]
            for cell in pair:
                trained = tuple(mask[place] for place in cell.weights)
                if not (any(trained) or reached or states_wanted):
                    continue
                last = rows if states_wanted else rows - begun
                total += self._cell(op, cell, rows=rows, last=last, reached=reached, mask=trained)
            if reached:
                total += Cost(additions=(len(pair) - 1) * rows * pair[0].inputs)
            reached = (
                reached or states_wanted or any(mask[w] for cell in pair for w in cell.weights)
            )
        dropped = rows * self.dropped(op)
        return total + Cost(multiplications=dropped)

    def _cell(
        self, op: Op, cell: _Cell, *, rows: int, last: int, reached: int, mask: tuple[int, ...]
    ) -> Cost:
        """One cell, of whose `rows` `last` have a gradient of the outputs before them."""
        hidden, outputs = op.integer("hidden"), self.outputs(op)
        gates = _GATES[self.network] * hidden
        cost = _STEP_BACKWARD[self.nonlinearity(op)] * (rows * hidden)
        cost += Cost(additions=rows * outputs)
        if reached:
            cost += contraction(rows * gates * cell.inputs, rows * cell.inputs)
        cost += contraction(last * gates * outputs, last * outputs)
        for wide, want in zip((cell.inputs, outputs), mask[:2], strict=True):
            if want:
                cost += contraction(rows * gates * wide, gates * wide)
        if op.flag("bias"):
            cost += Cost(additions=sum(mask[2:4]) * (rows - 1) * gates)
        if self.projected(op):
            cost += contraction(rows * hidden * outputs, rows * hidden)
            if mask[-1]:
                cost += contraction(rows * hidden * outputs, hidden * outputs)
        return cost

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return tuple(tensor.shape for tensor in op.inputs)


register(*(rule(network) for network in _GATES for rule in (Recurrent, RecurrentBackward)))
