"""Movement: operators that compute nothing. Views are free; copies cost their traffic."""

from __future__ import annotations

from typing import final

from ..dims import Shape, product
from ..program import Op, Tensor
from ..workload import Backend
from .base import (
    Cost,
    Emit,
    Gradients,
    Operator,
    Policy,
    all_in_order,
    as_images,
    need,
    not_in_order,
    register,
    widest,
)
from .strides import (
    Strides,
    are_channels_last,
    channels_last,
    in_order,
    permuted,
    sliced,
    stretched,
    viewed,
)

IN_ORDER = "in_order"
"""The attribute of a copy that is made so that its elements lie in order, and of none where they do already."""


@final
class View(Operator):
    """Another shape on the same bytes: reshape, transpose, expand, slice. Nothing moves.

    Shapes: as the attribute says: `shape` (reshape, expand), `order` (transpose), or `axis`, `start`
            and `length` (slice).
    Counts: nothing, no traffic.
    Backward: the opposite view; of expand a sum, of a slice a copy into zeros.
    """

    family = "movement"

    def __init__(self, kind: str, *, aten: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.aten = aten

    @property
    def view(self) -> bool:
        return True

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x = op.inputs[0].shape
        if self.kind == "transpose":
            return (tuple(x[axis] for axis in op.integers("order")),)
        if self.kind == "slice":
            axis = op.integer("axis")
            return ((*x[:axis], op.integer("length"), *x[axis + 1 :]),)
        shape = op.integers("shape")
        if self.kind == "reshape":
            need(product(x) == product(shape), f"shape {x} has no view of shape {shape}")
        return (shape,)

    def arithmetic(self, op: Op) -> Cost:
        return Cost()

    def traffic(self, op: Op) -> tuple[int, int]:
        return 0, 0

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        if not op.inputs:
            return all_in_order(op)
        x, strides = op.inputs[0].shape, given[0]
        found: list[Strides] = []
        for result in op.outputs:
            if self.kind == "transpose" and "order" in op.attributes:
                found.append(permuted(strides, op.integers("order")))
            elif self.kind == "expand":
                found.append(stretched(x, strides, result.shape))
            elif self.kind == "slice":
                found.append(sliced(x, strides, result.shape))
            else:
                found.append(viewed(x, strides, result.shape) or in_order(result.shape))
        return tuple(found)

    def copied(self, op: Op, given: tuple[Strides, ...]) -> tuple[Tensor, ...]:
        if self.kind != "reshape" or not op.inputs:
            return ()
        x, y = op.inputs[0], op.outputs[0]
        return () if viewed(x.shape, given[0], y.shape) is not None else (x,)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        x = op.inputs[0]
        if self.kind == "transpose":
            order = op.integers("order")
            inverse = tuple(order.index(axis) for axis in range(len(order)))
            return emit("transpose", dy, order=inverse)
        if self.kind == "expand":
            return (sum_to(dy, x.shape, emit),)
        if self.kind == "slice":
            keep = {key: op.attributes[key] for key in ("axis", "start")}
            return emit("slice_backward", dy, shape=x.shape, **keep)
        return (reshaped(dy, x.shape, emit),)


@final
class Split(Operator):
    """Equal parts of a tensor along one axis, views of it.

    Shapes: x -> as x, with the attribute `length` along `axis`; as many as there are.
    Counts: nothing, no traffic.
    Backward: the parts' gradients joined, zeros where nothing flows back.
    """

    kind = "split"
    family = "movement"
    results = 10**6  # all of them

    @property
    def view(self) -> bool:
        return True

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, axis, length = op.inputs[0].shape, op.integer("axis"), op.integer("length")
        need(x[axis] % length == 0, f"axis {axis} of {x} does not split into parts of {length}")
        return ((*x[:axis], length, *x[axis + 1 :]),) * (x[axis] // length)

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return (given[0],) * len(op.outputs)

    def arithmetic(self, op: Op) -> Cost:
        return Cost()

    def traffic(self, op: Op) -> tuple[int, int]:
        return 0, 0

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        parts = (
            emit("fill", shape=part.shape, dtype=part.dtype)[0] if gradient is None else gradient
            for part, gradient in zip(op.outputs, grads, strict=True)
        )
        return emit("concatenate", *parts, axis=op.integer("axis"))


@final
class Copy(Operator):
    """The same numbers in another place: clone, contiguous, cast, pad, roll, gather by index.

    Shapes: that of the first input, or of the attribute `shape`. With the attribute `in_order` its elements lie in order,
            and nothing is done where they do already; else they lie as what is copied.
    Counts: no arithmetic; the traffic of what it writes, read once and written once.
    Backward: of a clone the gradient itself; the others have no rule.
    """

    family = "movement"

    def __init__(self, kind: str, *, aten: tuple[str, ...] = (), reads: bool = True) -> None:
        self.kind = kind
        self.aten = aten
        self.reads = reads
        self.kernel_class = "gather" if kind == "gather" else "copy"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        if "shape" in op.attributes:
            return (op.integers("shape"),)
        return (op.inputs[0].shape,)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        dtype = op.attributes.get("dtype")
        return (dtype,) if isinstance(dtype, str) else (op.inputs[0].dtype,)

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        if op.flag(IN_ORDER) or not op.inputs:
            return all_in_order(op)
        if op.outputs[0].shape == op.inputs[0].shape:
            return super().strides(op, given)
        return as_images(op, given)  # a border is put around an image

    def moves(self, op: Op, given: tuple[Strides, ...]) -> bool:
        return not op.flag(IN_ORDER) or bool(not_in_order(op, given, 0))

    def arithmetic(self, op: Op) -> Cost:
        return Cost()

    def traffic(self, op: Op) -> tuple[int, int]:
        written = sum(t.bytes for t in op.outputs)
        if not self.reads or not op.inputs:
            return 0, written
        # What is read is what is written, however much larger the source; indices come on top.
        source = op.inputs[-1] if self.kind == "copy" else op.inputs[0]
        indices = sum(t.bytes for t in op.inputs[1:]) if self.kind == "gather" else 0
        moved = sum(t.elements for t in op.outputs) * source.bytes // max(source.elements, 1)
        return moved + indices, written

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        if self.kind != "clone" or op.outputs[0].shape != op.inputs[0].shape:
            return super().backward(op, grads, wanted, emit)
        return (dy,)


@final
class SliceBackward(Operator):
    """The gradient of a slice: zeros of the input's shape with the gradient written into its place.

    Shapes: dy -> the attribute `shape`.
    Counts: no arithmetic; reads the gradient, writes the whole.
    """

    kind = "slice_backward"
    family = "movement"
    kernel_class = "copy"
    aten = ("slice_backward", "select_backward", "diagonal_backward")

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.integers("shape"),)

    def arithmetic(self, op: Op) -> Cost:
        return Cost()


@final
class Concatenate(Operator):
    """Joins tensors along one axis.

    Shapes: equal but for the attribute `axis`, along which the sizes add.
    Counts: no arithmetic; everything is read once and written once.
    Backward: each input's gradient is a slice of the output's, a view.
    """

    kind = "concatenate"
    family = "movement"
    kernel_class = "copy"
    aten = ("cat",)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        axis = op.integer("axis")
        first = op.inputs[0].shape
        for tensor in op.inputs[1:]:
            rest = (*tensor.shape[:axis], *tensor.shape[axis + 1 :])
            need(
                rest == (*first[:axis], *first[axis + 1 :]),
                f"shapes {first} and {tensor.shape} do not join along axis {axis}",
            )
        joined = sum(tensor.shape[axis] for tensor in op.inputs)
        return ((*first[:axis], joined, *first[axis + 1 :]),)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (widest(op.inputs),)

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        shape = op.outputs[0].shape
        last = all(
            are_channels_last(tensor.shape, strides)
            for tensor, strides in zip(op.inputs, given, strict=True)
        )
        return (channels_last(shape) if last else in_order(shape),)

    def autocast(self, backend: Backend) -> Policy | None:
        return "widest" if backend == "cpu" else None  # CUDA's takes what there is

    def arithmetic(self, op: Op) -> Cost:
        return Cost()

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        axis = op.integer("axis")
        start = 0
        parts: list[Tensor | None] = []
        for tensor, want in zip(op.inputs, wanted, strict=True):
            length = tensor.shape[axis]
            parts.append(
                emit("slice", dy, axis=axis, start=start, length=length)[0] if want else None
            )
            start += length
        return tuple(parts)


def reshaped(tensor: Tensor, shape: Shape, emit: Emit) -> Tensor:
    """The tensor under another shape; itself where it has that shape already."""
    if tensor.shape == shape:
        return tensor
    return emit("reshape", tensor, shape=shape)[0]


def sum_to(tensor: Tensor, shape: Shape, emit: Emit) -> Tensor:
    """The gradient of a broadcast: sums the axes that were stretched, and drops those that were new."""
    if tensor.shape == shape:
        return tensor
    new = len(tensor.shape) - len(shape)
    stretched = tuple(
        new + index for index, size in enumerate(shape) if size == 1 != tensor.shape[new + index]
    )
    axes = (*range(new), *stretched)
    if axes:
        (tensor,) = emit("sum", tensor, axes=axes, keep=True)
    return reshaped(tensor, shape, emit)


register(
    View(
        "reshape",
        aten=("view", "_unsafe_view", "unsqueeze", "squeeze", "flatten", "alias", "detach",
              "_reshape_alias", "_conj", "_neg_view", "view_as_real", "view_as_complex", "lift_fresh"),
    ),
    View("transpose", aten=("t", "transpose", "permute")),
    View("expand", aten=("expand",)),
    View(
        "slice",
        aten=("slice", "select", "narrow", "split", "split_with_sizes", "chunk", "unbind", "unfold",
              "diagonal", "as_strided", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk"),
    ),
    Split(),
    Copy("clone", aten=("clone", "contiguous", "_to_copy", "_fused_dropout", "repeat", "roll", "flip",
                        "constant_pad_nd", "reflection_pad1d", "reflection_pad2d",
                        "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d",
                        "rot90", "diag_embed", "pixel_shuffle", "pixel_unshuffle", "tril", "triu",
                        "channel_shuffle", "as_strided_copy", "im2col", "stack", "alias_copy", "block_diag", "_chunk_cat",
                        "detach_copy", "diagonal_copy", "expand_copy", "lu_unpack", "narrow_copy", "permute_copy",
                        "select_copy", "slice_copy", "split_copy", "split_with_sizes_copy", "squeeze_copy", "t_copy",
                        "transpose_copy", "unbind_copy", "unfold_copy", "unsqueeze_copy", "view_copy")),
    Copy("copy", aten=("copy", "_foreach_copy")),
    Copy("gather", aten=("index", "_unsafe_index", "index_select", "gather", "take_along_dim", "masked_select", "take",
                         "masked_scatter_backward", "max_unpool2d", "max_unpool3d", "repeat_interleave",
                         "_pack_padded_sequence", "_unsafe_masked_index")),
    Copy(
        "fill",
        aten=("fill", "zero", "empty", "empty_strided", "new_empty", "new_empty_strided",
              "empty_like", "zeros", "zeros_like", "ones", "ones_like", "full", "full_like", "new_full",
              "new_zeros", "new_ones", "arange", "scalar_tensor", "linspace", "eye", "normal",
              "uniform", "bernoulli", "randn", "rand", "rand_like", "randn_like", "randint", "randint_like", "logspace",
              "_efficientzerotensor", "_foreach_zero", "exponential", "cauchy", "geometric", "log_normal",
              "random", "randperm", "poisson", "binomial", "multinomial", "standard_gamma"),
        reads=False,
    ),
    SliceBackward(),
    Concatenate(),
)  # fmt: skip
