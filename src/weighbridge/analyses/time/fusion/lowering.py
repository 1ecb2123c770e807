"""Lowering: which results of operators are put into memory, and by what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ....dims import Shape, bytes_of, product
from ....ops import rule_of
from ....ops.attention_kernels import HALF
from ....ops.kernel import FUSION, Fusion, Kernel
from ....program import Op, Program, Tensor

READS_RECOMPUTED = 4
"""A result of several readers is computed in each of them where it takes at most so many tensors."""

READS_GATHERED = 8
"""A result of more tensors than this is put into memory."""

PARTS_COMPUTED = 8
"""More tensors than this are concatenated by writing each into its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """A result: in a buffer, or (`buffer` None) still to be computed from what lies in others."""

    elements: int
    bytes: int
    reads: Mapping[int, int]  # bytes by buffer
    elsewhere: frozenset[int] = frozenset()  # of those, what is read at other places than are made
    ops: tuple[Op, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    buffer: int | None = None
    image: Shape = ()  # its shape, where its channels lie last


@dataclass(slots=True, kw_only=True)
class Node:
    """A kernel as it was found, before such become one.

    `space` is its results, and the elements that go into each; `in_order` says whether those lie together.
    """

    kind: Fusion
    space: tuple[int, int]
    reads: dict[int, int]
    writes: dict[int, int]
    ops: tuple[Op, ...]
    kernels: tuple[Kernel, ...]
    elsewhere: frozenset[int] = frozenset()
    in_order: bool = True


class Lowering:
    """Operators one after the other: which results are put into memory, and by what."""

    def __init__(self, program: Program, channels_last: bool) -> None:
        self.program = program
        self.channels_last = channels_last
        self.on_cpu = program.workload.backend == "cpu"
        self.nodes: list[Node] = []
        self.values: dict[int, _Value] = {}  # by storage
        self.sizes = {storage.id: storage.bytes for storage in program.storages}
        self.buffers: dict[int, int] = {}  # bytes
        self.makers: dict[int, Node] = {}  # of buffers that no library makes
        self.kept: set[int] = set()
        self.reordered: dict[int, int] = {}
        self.readers = _readers(program)
        self.version: dict[int, int] = defaultdict(int)

    def run(self) -> None:
        for op in self.program.ops:
            rule = rule_of(op.kind)
            if rule is not None and rule.view:
                continue
            kernels = () if rule is None else rule.kernels(op)
            kind = _fusion(op, kernels)
            if kind == "extern":
                self._extern(op, kernels)
            elif self._in_place(op):
                self._partly_written(op, kernels)
            elif kind == "reduction":
                self._reduction(op, kernels)
            elif kind == "copy" and len(op.inputs) > 1:
                self._joined(op, kernels)
            else:
                self._pointwise(op, kernels, windowed=kind == "window")
        for tensor in self.program.outputs:
            if tensor.storage in self.values:
                self.kept.add(self._in_memory(tensor.storage))

    # What operators read.

    def _value(self, tensor: Tensor) -> _Value:
        """What a tensor's storage holds; what is there before the step begins lies in a buffer of its own."""
        if tensor.storage not in self.values:
            size = self.sizes.get(tensor.storage, tensor.bytes)
            buffer = self._new_buffer(size)
            elements = tensor.elements * size // max(tensor.bytes, 1)
            self.values[tensor.storage] = _Value(
                elements=max(elements, 1), bytes=size, reads={buffer: size}, buffer=buffer
            )
        return self.values[tensor.storage]

    def _reads(self, tensors: Iterable[Tensor]) -> dict[int, int]:
        """Bytes that reading the tensors takes, by buffer: of a view its share, of a buffer at most all."""
        found: dict[int, int] = {}
        seen: set[tuple[int, int]] = set()
        for tensor in tensors:
            value = self._value(tensor)
            if (tensor.storage, tensor.id) in seen:
                continue
            seen.add((tensor.storage, tensor.id))
            for buffer, size in value.reads.items():
                part = size
                if tensor.elements < value.elements:
                    part = max(size * tensor.elements // value.elements, 1)
                found[buffer] = min(found.get(buffer, 0) + part, max(size, found.get(buffer, 0)))
        return found

    def _in_memory(self, storage: int) -> int:
        """The buffer that holds what the storage holds, computed now where it was not yet."""
        value = self.values[storage]
        if value.buffer is None:
            buffer = self._new_buffer(value.bytes)
            self._add(
                Node(
                    kind="pointwise",
                    space=(value.elements, 1),
                    reads=dict(value.reads),
                    writes={buffer: value.bytes},
                    elsewhere=value.elsewhere,
                    ops=value.ops,
                    kernels=value.kernels,
                )
            )
            value = _Value(
                elements=value.elements,
                bytes=value.bytes,
                reads={buffer: value.bytes},
                buffer=buffer,
                image=value.image,
            )
            self.values[storage] = value
        assert value.buffer is not None
        return value.buffer

    def _add(self, node: Node) -> None:
        self.nodes.append(node)
        if node.kind != "extern":
            for buffer in node.writes:
                self.makers[buffer] = node

    def _new_buffer(self, size: int) -> int:
        buffer = len(self.buffers)
        self.buffers[buffer] = size
        return buffer

    def _computed(self, tensors: Iterable[Tensor]) -> tuple[tuple[Op, ...], tuple[Kernel, ...]]:
        """The operators that are computed on the way to the tensors, and their kernels."""
        ops: list[Op] = []
        kernels: list[Kernel] = []
        for storage in dict.fromkeys(tensor.storage for tensor in tensors):
            value = self.values[storage]
            ops += (op for op in value.ops if not any(op is known for known in ops))
            kernels += (k for k in value.kernels if not any(k is known for known in kernels))
        return tuple(ops), tuple(kernels)

    def _elsewhere(self, tensors: Iterable[Tensor]) -> frozenset[int]:
        return frozenset().union(*(self._value(tensor).elsewhere for tensor in tensors))

    def _image(self, tensors: Iterable[Tensor], made: Tensor) -> Shape:
        """The shape of what is made of tensors, where its channels lie last because theirs do."""
        for tensor in tensors:
            image = self._value(tensor).image
            if image == tensor.shape and len(made.shape) == len(image) > 0:
                return made.shape
        return ()

    def _in_order(self, op: Op) -> bool:
        """Whether what a reduction takes together lies together in memory, so that one loop can go on from it."""
        x = op.inputs[0]
        image = self._value(x).image
        axes = _reduced(op)
        if image and x.shape[:2] == image[:2] and product(x.shape[2:]) > 1:
            return axes == (1,)
        return axes == tuple(range(len(x.shape) - len(axes), len(x.shape)))

    # What operators make.

    def _in_place(self, op: Op) -> bool:
        """Whether it writes into a part of what is there already."""
        y = op.outputs[0]
        held = self.values.get(y.storage)
        return y.bytes < self.sizes.get(y.storage, y.bytes) and (
            held is not None or any(t.storage == y.storage for t in op.inputs)
        )

    def _write(self, tensor: Tensor, value: _Value) -> None:
        self.version[tensor.storage] += 1
        self.values[tensor.storage] = value

    def _pointwise(self, op: Op, kernels: tuple[Kernel, ...], *, windowed: bool) -> None:
        if windowed:
            for tensor in op.inputs:
                if len(self._value(tensor).reads) > 1:
                    self._in_memory(tensor.storage)
        if any(kernel.gates for kernel in kernels):
            self._gated(op.inputs[0])
        reads = self._reads(op.inputs)
        elsewhere = frozenset(reads) if windowed else self._elsewhere(op.inputs)
        ops, before = self._computed(op.inputs)
        for tensor in op.outputs:
            self._write(
                tensor,
                _Value(
                    elements=tensor.elements,
                    bytes=tensor.bytes,
                    reads=reads,
                    elsewhere=elsewhere,
                    ops=(*ops, op),
                    kernels=(*before, *kernels),
                    image=self._image(op.inputs, tensor),
                ),
            )
            self._settle(tensor)

    def _gated(self, tensor: Tensor) -> None:
        """What a gate reads has two readers within it: x, and the function of x. Both compute in float32, and so
        what takes many tensors to compute is put into memory as that."""
        value = self._value(tensor)
        if value.buffer is None and len(value.reads) > READS_RECOMPUTED:
            if tensor.dtype in HALF:
                self.values[tensor.storage] = replace(
                    value, bytes=bytes_of(value.elements, "float32")
                )
            self._in_memory(tensor.storage)

    def _settle(self, tensor: Tensor) -> None:
        """Puts a result into memory that is better not computed again."""
        value = self.values[tensor.storage]
        readers = self.readers[tensor.storage, self.version[tensor.storage]]
        heavy = self.on_cpu and any(kernel.kind == "activation" for kernel in value.kernels)
        many = len(value.reads) > READS_RECOMPUTED
        if (
            len(value.reads) > READS_GATHERED
            or (readers.operators > 1 and (heavy or many))
            or (readers.extern and len(value.reads) > 1)
        ):
            self._in_memory(tensor.storage)

    def _joined(self, op: Op, kernels: tuple[Kernel, ...]) -> None:
        """A concatenation: computed like anything pointwise, or each part made in its place.

        What a library has made is copied there; what a kernel of the compiler makes, it writes there.
        """
        pending = [self._value(tensor).buffer is None for tensor in op.inputs]
        if not self.on_cpu and len(op.inputs) <= PARTS_COMPUTED and any(pending):
            self._pointwise(op, kernels, windowed=False)
            return
        y = op.outputs[0]
        whole = self._new_buffer(y.bytes)
        for tensor in op.inputs:
            self._value(tensor)
            part = self._in_memory(tensor.storage)
            maker = self.makers.get(part)
            if maker is not None and tensor.bytes == self.buffers[part] == maker.writes[part]:
                maker.writes[part] = 0
                maker.writes[whole] = maker.writes.get(whole, 0) + tensor.bytes
                continue
            self._add(
                Node(
                    kind="pointwise",
                    space=(tensor.elements, 1),
                    reads=self._reads((tensor,)),
                    writes={whole: tensor.bytes},
                    ops=(op,),
                    kernels=kernels,
                )
            )
        self._write(
            y,
            _Value(
                elements=y.elements,
                bytes=y.bytes,
                reads={whole: y.bytes},
                buffer=whole,
                image=self._image(op.inputs, y),
            ),
        )

    def _partly_written(self, op: Op, kernels: tuple[Kernel, ...]) -> None:
        y = op.outputs[0]
        self._value(y)
        buffer = self._in_memory(y.storage)
        others = [tensor for tensor in op.inputs if tensor.storage != y.storage]
        reads = self._reads(others)
        ops, before = self._computed(others)
        self._add(
            Node(
                kind="pointwise",
                space=(y.elements, 1),
                reads=reads,
                writes={buffer: y.bytes},
                elsewhere=self._elsewhere(others),
                ops=(*ops, op),
                kernels=(*before, *kernels),
            )
        )

    def _reduction(self, op: Op, kernels: tuple[Kernel, ...]) -> None:
        x, y = op.inputs[0], op.outputs[0]
        reads, elsewhere = self._reads(op.inputs), self._elsewhere(op.inputs)
        ops, before = self._computed(op.inputs)
        ops, before = (*ops, op), (*before, *kernels)
        in_order = self._in_order(op)
        as_many = y.elements == x.elements
        results = _rows(op) if as_many else max(y.elements, 1)
        small = 4 * results if as_many else sum(tensor.bytes for tensor in op.outputs)
        buffer = self._new_buffer(small)
        self._add(
            Node(
                kind="reduction",
                space=(results, max(x.elements // max(results, 1), 1)),
                reads=reads,
                writes={buffer: small},
                elsewhere=elsewhere,
                in_order=in_order,
                ops=ops,
                kernels=before,
            )
        )
        for tensor in op.outputs:
            if tensor.elements < x.elements:
                value = _Value(
                    elements=tensor.elements,
                    bytes=tensor.bytes,
                    reads={buffer: min(tensor.bytes, small)},
                    buffer=buffer,
                )
                self._write(tensor, value)
                continue
            value = _Value(
                elements=tensor.elements,
                bytes=tensor.bytes,
                reads={**reads, buffer: small},
                elsewhere=elsewhere,
                ops=ops,
                kernels=before,
                image=self._image(op.inputs[:1], tensor),
            )
            self._write(tensor, value)
            self._settle(tensor)

    def _extern(self, op: Op, kernels: tuple[Kernel, ...]) -> None:
        for tensor in op.inputs:
            self._value(tensor)
            self._in_memory(tensor.storage)
        images = self.channels_last and any(kernel.image_bytes for kernel in kernels)
        if images:
            self._reorder(op)
        reads = {
            self.reordered.get(buffer, buffer) if images else buffer: size
            for buffer, size in self._reads(op.inputs).items()
        }
        writes: dict[int, int] = {}
        for tensor in op.outputs:
            buffer = self._new_buffer(tensor.bytes)
            writes[buffer] = tensor.bytes
            self._write(
                tensor,
                _Value(
                    elements=tensor.elements,
                    bytes=tensor.bytes,
                    reads={buffer: tensor.bytes},
                    buffer=buffer,
                    image=tensor.shape if images else (),
                ),
            )
        self._add(
            Node(
                kind="extern", space=(0, 0), reads=reads, writes=writes, ops=(op,), kernels=kernels
            )
        )

    def _reorder(self, op: Op) -> None:
        """Copies of what a convolution reads and was given to the network: its channels lie first.

        What the network made lies as whatever reads it wants it. Of one place or one channel either order is the same.
        """
        for tensor in op.inputs[:2]:
            value = self._value(tensor)
            given = tensor.role in ("parameter", "buffer", "input") and value.buffer is not None
            places = tensor.elements // max(tensor.shape[0] * tensor.shape[1], 1)
            if not given or places == 1 or tensor.shape[1] == 1 or value.buffer in self.reordered:
                continue
            assert value.buffer is not None
            copy = self._new_buffer(tensor.bytes)
            self.reordered[value.buffer] = copy
            self._add(
                Node(
                    kind="pointwise",
                    space=(tensor.elements, 1),
                    reads={value.buffer: tensor.bytes},
                    writes={copy: tensor.bytes},
                    ops=(op,),
                    kernels=(
                        Kernel(
                            kind="copy",
                            dtype=tensor.dtype,
                            read_bytes=tensor.bytes,
                            write_bytes=tensor.bytes,
                        ),
                    ),
                )
            )


def _fusion(op: Op, kernels: tuple[Kernel, ...]) -> Fusion:
    """What a compiler can do with an operator.

    One that makes statistics beside its result reduces, whatever its class; so does a window over all places.
    """
    kinds = {FUSION[kernel.kind] for kernel in kernels}
    if len(kinds) != 1 or not op.outputs or not (op.inputs or kinds == {"copy"}):
        return "extern"
    (kind,) = kinds
    y = op.outputs[0]
    if kind == "pointwise" and any(tensor.elements < y.elements for tensor in op.outputs[1:]):
        return "reduction"
    if kind == "window" and product(y.shape[2:]) == 1 < product(op.inputs[0].shape[2:]):
        return "reduction"
    return kind


def _reduced(op: Op) -> tuple[int, ...]:
    """The axes that a reduction or a normalisation takes together."""
    rank = len(op.inputs[0].shape)
    if "axis" in op.attributes:
        return (op.integer("axis") % max(rank, 1),)
    if "rank" in op.attributes:
        return tuple(range(rank - op.integer("rank"), rank))
    if "axes" in op.attributes:
        return tuple(sorted(axis % max(rank, 1) for axis in op.integers("axes")))
    sizes = op.outputs[0].shape
    if sizes == op.inputs[0].shape:  # all of a sample, or of a group of its channels
        return tuple(range(1, rank))
    return tuple(
        axis for axis, size in enumerate(op.inputs[0].shape) if size != (*sizes, *[1] * rank)[axis]
    )


def _rows(op: Op) -> int:
    """Rows of a normalisation or a softmax: of its statistics, or what is left of its axes where it hands none on."""
    x = op.inputs[0]
    if len(op.outputs) > 1:
        return max(op.outputs[1].elements, 1)
    return max(x.elements // max(product(x.shape[axis] for axis in _reduced(op)), 1), 1)


@dataclass(slots=True)
class _Readers:
    """How many operators read a result, and whether a library's kernel does."""

    operators: int = 0
    extern: bool = False


def _readers(program: Program) -> dict[tuple[int, int], _Readers]:
    """Who reads each version of each storage; a version is made by each write."""
    version: dict[int, int] = defaultdict(int)
    found: dict[tuple[int, int], _Readers] = defaultdict(_Readers)
    for op in program.ops:
        rule = rule_of(op.kind)
        if rule is not None and rule.view:
            continue
        extern = _fusion(op, () if rule is None else rule.kernels(op)) == "extern"
        for storage in {tensor.storage for tensor in op.inputs}:
            readers = found[storage, version[storage]]
            readers.operators += 1
            readers.extern |= extern
        for tensor in op.outputs:
            version[tensor.storage] += 1
    return found
