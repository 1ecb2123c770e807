"""Contractions: matrix products and convolutions, where nearly all of the arithmetic is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

from ..dims import Shape, broadcast, bytes_of, product
from ..errors import ShapeError
from ..program import Op, Tensor
from ..workload import Backend
from .base import (
    Cost,
    Emit,
    Gradients,
    Operator,
    Policy,
    Scratch,
    all_in_order,
    arithmetic_dtype,
    contraction,
    need,
    register,
)
from .kernel import TURNED, Gemm, Kernel, KernelClass, Part
from .movement import reshaped, sum_to
from .strides import Strides, are_channels_last, channels_last, in_order, lie_alike


@final
class Matmul(Operator):
    """Matrix product over leading axes, with an optional addend (a bias).

    Shapes: (*B, M, K), (K, N) or (*B, K, N), optional addend broadcast to the output -> (*B, M, N)
    Counts: B*M*N*K products, each of the B*M*N sums having K - 1 additions and one for the addend.
    Backward: two products of that size, dX = dY W^T and dW = X^T dY; the addend's is a sum.
            Complex operands: four products of real numbers for each.
    Limits: a structured or sparse operand counts as dense.
    Source: by definition; lecture L9, k neurons with n inputs are 2*n*k operations.
    """

    kind = "matmul"
    family = "contraction"
    aten = ("mm", "bmm")

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return all_in_order(op)

    def autocast(self, backend: Backend) -> Policy | None:
        return "lower"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, w = op.inputs[0].shape, op.inputs[1].shape
        need(len(x) >= 2 and len(w) >= 2, f"a matrix product of shapes {x} and {w}")
        need(
            x[-1] == w[-2], f"a matrix product needs {x[-1]} rows on the right, and {w} has {w[-2]}"
        )
        if len(w) == 2:
            return ((*x[:-1], w[-1]),)
        return ((*broadcast((x[:-2], w[:-2])), x[-2], w[-1]),)

    def arithmetic(self, op: Op) -> Cost:
        (y,) = op.outputs
        sums = y.elements
        addends = sums if len(op.inputs) == 3 else 0
        macs = sums * op.inputs[0].shape[-1]
        return contraction(macs, sums, addends=addends, operands=op.inputs[:2])

    def kernel(self, op: Op) -> Kernel:
        x, w, y = op.inputs[0].shape, op.inputs[1].shape, op.outputs[0].shape
        batch = 1 if len(w) == 2 else product(y[:-2])
        rows = product(x[:-1]) if len(w) == 2 else y[-2]
        return replace(
            super().kernel(op),
            kind="matmul" if batch == 1 else "batched matmul",
            gemm=Gemm(batch=batch, rows=rows, columns=y[-1], depth=x[-1]),
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        x, w = op.inputs[0].shape, op.inputs[1].shape
        rank = max(len(x), len(w))
        if len(w) == 2:  # a fully connected layer: n inputs to k outputs
            rows = ("B", "T")[: rank - 1] if rank <= 3 else tuple(f"B{i}" for i in range(rank - 1))
            named: tuple[tuple[str | int, ...], ...] = ((*rows, "n"), ("n", "k"))
            addend: tuple[str | int, ...] = (*rows, "k")
        else:
            lead = tuple(f"B{i}" if rank > 3 else "B" for i in range(rank - 2))
            full = broadcast((x[:-2], w[:-2]))
            named = ((*_stretched(lead, x, full), "m", "n"), (*_stretched(lead, w, full), "n", "k"))
            addend = (*lead, "m", "k")
        if len(op.inputs) == 2:
            return named
        shape = op.inputs[2].shape
        tail = addend[len(addend) - len(shape) :]
        return (*named, tuple(1 if size == 1 else n for n, size in zip(tail, shape, strict=True)))

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        x, w = op.inputs[:2]
        dx = dw = None
        if len(w.shape) == 2:
            # As autograd runs it: leading axes are folded into one.
            rows = product(x.shape[:-1])
            flat_dy = reshaped(dy, (rows, w.shape[1]), emit)
            if wanted[0]:
                (wt,) = emit("transpose", w, order=(1, 0))
                (flat_dx,) = emit("matmul", flat_dy, wt)
                dx = reshaped(flat_dx, x.shape, emit)
            if wanted[1]:
                flat_x = reshaped(x, (rows, x.shape[-1]), emit)
                (xt,) = emit("transpose", flat_x, order=(1, 0))
                (dw,) = emit("matmul", xt, flat_dy)
        else:
            if wanted[0]:
                (wt,) = emit("transpose", w, order=_swap_last(len(w.shape)))
                dx = sum_to(emit("matmul", dy, wt)[0], x.shape, emit)
            if wanted[1]:
                (xt,) = emit("transpose", x, order=_swap_last(len(x.shape)))
                dw = sum_to(emit("matmul", xt, dy)[0], w.shape, emit)
        if len(op.inputs) == 2:
            return (dx, dw)
        db = None
        if wanted[2]:
            db = sum_to(dy, op.inputs[2].shape, emit)
        return (dx, dw, db)


@final
class Dot(Operator):
    """The product of rows with one vector, with an optional addend.

    Shapes: x (*B, K), vector (K), optional addend broadcast to the output -> (*B); of two vectors a number
    Counts: K products a row, K - 1 additions and one for the addend.
    Source: by definition; BLAS level 2, gemv, and level 1, dot.
    """

    kind = "dot"
    family = "contraction"
    kernel_class = "matmul"
    aten = ("dot", "vdot", "mv")

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, vector = op.inputs[0].shape, op.inputs[1].shape
        need(x[-1:] == vector, f"a product of rows {x} with a vector {vector}")
        return (x[:-1],)

    def arithmetic(self, op: Op) -> Cost:
        sums = op.outputs[0].elements
        addends = sums if len(op.inputs) == 3 else 0
        return contraction(op.inputs[0].elements, sums, addends=addends, operands=op.inputs[:2])

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        x, _, *addend = (tensor.shape for tensor in op.inputs)
        rows = ("m",) if len(x) == 2 else tuple(f"B{i}" for i in range(len(x) - 1))
        return ((*rows, "n"), ("n",), *(rows[len(rows) - len(shape) :] for shape in addend))


@final
class Outer(Operator):
    """The outer product of two vectors, with an optional addend.

    Shapes: (M), (N), optional addend broadcast to the output -> (M, N)
    Counts: a product an element, and an addition where there is an addend.
    Source: by definition; BLAS level 2, ger.
    """

    kind = "outer"
    family = "contraction"
    kernel_class = "elementwise"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        (m,), (n,) = op.inputs[0].shape, op.inputs[1].shape
        return ((m, n),)

    def arithmetic(self, op: Op) -> Cost:
        n = op.outputs[0].elements
        addends = n if len(op.inputs) == 3 else 0
        return contraction(n, n, addends=addends, operands=op.inputs[:2])

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("m",), ("n",), ("m", "n"))[: len(op.inputs)]


@final
class SummedMatmul(Operator):
    """The sum of a batch of matrix products, with an optional addend.

    Shapes: x (B, M, K), w (B, K, N), optional addend (M, N) -> (M, N)
    Counts: B*M*N*K products, each of the M*N sums over B*K of them.
    Source: by definition: the product of (M, B*K) with (B*K, N).
    """

    kind = "summed_matmul"
    family = "contraction"
    kernel_class = "matmul"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, w = op.inputs[0].shape, op.inputs[1].shape
        need(len(x) == len(w) == 3 and x[2] == w[1], f"a sum of matrix products of {x} and {w}")
        return ((x[1], w[2]),)

    def arithmetic(self, op: Op) -> Cost:
        sums = op.outputs[0].elements
        batch, _, inner = op.inputs[0].shape
        addends = sums if len(op.inputs) == 3 else 0
        macs = batch * sums * inner
        return contraction(macs, sums, addends=addends, operands=op.inputs[:2])

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("B", "m", "n"), ("B", "n", "k"), ("m", "k"))[: len(op.inputs)]


@final
class Trilinear(Operator):
    """Products of three tensors, summed over some axes: a bilinear layer and its gradients.

    Shapes: a, b, c, their axes among all those named by the attributes -> the axes that are not summed
    Attributes: `axes_0`, `axes_1`, `axes_2`: which of all axes each operand has; `summed`: those summed.
    Counts: a times b first, summed over what c does not have, then that times c. A bilinear layer of n by m
            inputs and k outputs: k*n*m products, then k*m, a sample.
    Source: by definition, x^T W y, in the order in which PyTorch multiplies.
    """

    kind = "trilinear"
    family = "contraction"
    kernel_class = "batched matmul"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        sizes = _sizes_of_axes(op)
        summed = op.integers("summed")
        return (tuple(size for axis, size in sorted(sizes.items()) if axis not in summed),)

    def arithmetic(self, op: Op) -> Cost:
        sizes = _sizes_of_axes(op)
        first = {*op.integers("axes_0"), *op.integers("axes_1")}
        last, summed = set(op.integers("axes_2")), set(op.integers("summed"))
        between = first - (summed - last)
        every = between | last
        once = product(tuple(sizes[axis] for axis in first))
        twice = product(tuple(sizes[axis] for axis in every))
        sums = product(tuple(sizes[axis] for axis in between))
        outputs = product(tuple(sizes[axis] for axis in every - summed))
        return contraction(once, sums) + contraction(twice, outputs)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        names = ("B", "k", "n", "m", "d4", "d5", "d6", "d7")
        return tuple(
            tuple(names[axis] for axis in op.integers(f"axes_{place}")) for place in range(3)
        )


def _sizes_of_axes(op: Op) -> dict[int, int]:
    return {
        axis: size
        for place, tensor in enumerate(op.inputs)
        for axis, size in zip(op.integers(f"axes_{place}"), tensor.shape, strict=True)
    }


@final
class GroupedMatmul(Operator):
    """A matrix product for each group of rows, its groups one behind the other: a mixture of experts.

    Shapes: x (M, K), w (G, K, N), offsets (G) -> (M, N), each row with its own group's w;
            or x (K, M), w (M, N), offsets (G) -> (G, K, N), the gradient of such a w.
    Counts: M*K*N products in either case, however the rows are shared among the groups.
    Source: by definition: every row meets the weights of one group.
    """

    kind = "grouped_matmul"
    family = "contraction"
    kernel_class = "batched matmul"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, w, offsets = (tensor.shape for tensor in op.inputs[:3])
        need(len(x) == 2, f"a grouped matrix product of shapes {x} and {w}")
        need(
            _same(x[-1], w[-2]),
            f"a grouped product needs {x[-1]} rows on the right, and {w} has {w[-2]}",
        )
        return ((x[0], w[2]),) if len(w) == 3 else ((offsets[0], x[0], w[1]),)

    def arithmetic(self, op: Op) -> Cost:
        x, w = op.inputs[0].shape, op.inputs[1].shape
        return contraction(x[0] * x[1] * w[-1], op.outputs[0].elements)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        if len(op.inputs[1].shape) == 3:
            return (("m", "n"), ("g", "n", "k"), ("g",))
        return (("n", "m"), ("m", "k"), ("g",))


@final
class Convolution(Operator):
    """Convolution in one, two or three dimensions, strided, padded, dilated, grouped or transposed.

    Shapes: x (B, c, *image), weight (k, c/groups, *kernel), optional bias (k) -> (B, k, *output);
            transposed: weight (c, k/groups, *kernel).
    Counts: every output is a sum of c/groups * kernel products: 2*c*w*h*(M-w+1)*(N-h+1)*k operations
            at stride 1 without padding (lecture L11). Products with padding count, as everywhere in
            the field. Transposed: every *input* is multiplied with k/groups * kernel weights.
    Backward: one operator, `convolution_backward`.
    Scratch: on a CPU oneDNN's copies of x, weight and y in blocks of channels, or the table of PyTorch's own kernel;
            on a GPU cuDNN's copies of x, weight and y with their channels last (`_turned`), where they lie first.
    Source: Dumoulin and Visin 2016, 'A guide to convolution arithmetic', for the output's size.
    """

    kind = "convolution"
    family = "contraction"

    def autocast(self, backend: Backend) -> Policy | None:
        return "lower"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, w = op.inputs[0].shape, op.inputs[1].shape
        groups = op.integer("groups", 1)
        need(len(x) == len(w), f"a convolution of an input {x} with a kernel {w}")
        channels = w[0] if op.flag("transposed") else w[1] * groups
        need(
            _same(x[1], channels),
            f"the kernel takes {channels} channels, and the input {x} has {x[1]}",
        )
        spatial = zip(
            x[2:], w[2:], op.integers("stride"), op.integers("padding"), op.integers("dilation"),
            strict=True,
        )  # fmt: skip
        if op.flag("transposed"):
            extra = op.integers("output_padding")
            sizes = tuple(
                (size - 1) * stride - 2 * pad + dilation * (kernel - 1) + more + 1
                for (size, kernel, stride, pad, dilation), more in zip(spatial, extra, strict=True)
            )
            return ((x[0], w[1] * groups, *sizes),)
        outputs = []
        for size, kernel, stride, pad, dilation in spatial:
            reach = dilation * (kernel - 1) + 1
            if isinstance(size, int) and isinstance(kernel, int):
                need(
                    size + 2 * pad >= reach,
                    f"the kernel covers {reach}, and the input {x} is {size} wide"
                    + (f" with {pad} of padding on either side" if pad else ""),
                )
            outputs.append((size + 2 * pad - reach) // stride + 1)
        return ((x[0], w[0], *outputs),)

    def arithmetic(self, op: Op) -> Cost:
        x, w = op.inputs[:2]
        (y,) = op.outputs
        addends = y.elements if len(op.inputs) == 3 else 0
        macs = convolution_macs(x.shape, w.shape, y.shape, transposed=op.flag("transposed"))
        # A transposed convolution adds every product to an output that starts at zero.
        sums = 0 if op.flag("transposed") else y.elements
        return contraction(macs, sums, addends=addends)

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return _made_images(op, given[:2])

    def copied(self, op: Op, given: tuple[Strides, ...]) -> tuple[Tensor, ...]:
        return _turned_images(
            op.inputs[:1], given[:1], last=_takes_channels_last(op.inputs[:2], given)
        )

    def kernels(self, op: Op) -> tuple[Kernel, ...]:
        x, w = op.inputs[:2]
        return (_convolving(op, self.cost(op), "forward", x, w, op.outputs[0]),)

    def scratch(self, op: Op, backend: Backend) -> Scratch:
        x, w = op.inputs[:2]
        y = op.outputs[0]
        if backend != "cpu":
            return Scratch(turned=_turned(op, x, w, y))
        if _runs_on_onednn(op, x, w):
            return Scratch(running=sum(_copied(op, x, w, y)))
        return Scratch(running=_table(op, x, w, y))

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        w = op.inputs[1].shape
        image = {1: ("M",), 2: ("M", "N"), 3: ("D", "M", "N")}[len(w) - 2]
        kernel = {1: ("w",), 2: ("w", "h"), 3: ("d", "w", "h")}[len(w) - 2]
        groups = op.integer("groups", 1)
        inner: str | int = "c" if groups == 1 else (1 if w[1] == 1 else "g")
        # Grouped: each of the k kernels sees g of the channels.
        weight: tuple[str | int, ...] = ("k", inner, *kernel)
        if op.flag("transposed"):
            weight = ("c", "k" if groups == 1 else "g", *kernel)
        x = ("B", "c", *image)
        bias: str | int = (
            "k" if groups == 1 or not op.flag("transposed") else op.outputs[0].shape[1]
        )
        return (x, weight, (bias,))[: len(op.inputs)]

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        x, w = op.inputs[:2]
        mask = (*wanted, False)[:3]
        made = iter(emit("convolution_backward", dy, x, w, **{**op.attributes, "mask": mask}))
        return tuple(next(made) if want else None for want in wanted)


@final
class ConvolutionBackward(Operator):
    """The gradients of a convolution: of its input, its kernels and its bias, as far as wanted.

    Shapes: dy (B, k, *output), x (B, c, *image), weight (k, c/groups, *kernel) -> those of x, weight
            and (k) that the attribute `mask` (three booleans) asks for.
    Counts: the products of the forward convolution once for x, once for the kernels. A kernel weight
            is a sum over the batch and the output's places; the gradient of the input is gathered into
            zeros, one addition a product; the bias' gradient is a sum.
    Scratch: on a CPU oneDNN's copies: dy and weight while dx is made, then x and dy while that of the kernels is, each
            in blocks of channels first and copied out last.
    Source: by definition (the adjoint of the convolution in each operand).
    """

    kind = "convolution_backward"
    family = "contraction"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        dy, x, w = (tensor.shape for tensor in op.inputs)
        every = (x, w, (dy[1],))
        return tuple(s for s, want in zip(every, _mask(op), strict=True) if want)

    def arithmetic(self, op: Op) -> Cost:
        dy, x, w = op.inputs
        dx_wanted, dw_wanted, db_wanted = _mask(op)
        transposed = op.flag("transposed")
        macs = convolution_macs(x.shape, w.shape, dy.shape, transposed=transposed)
        cost = Cost()
        if dx_wanted:
            cost += contraction(macs, x.elements if transposed else 0)
        if dw_wanted:
            cost += contraction(macs, w.elements)
        if db_wanted:
            cost += Cost(additions=dy.elements - dy.shape[1])
        return cost

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return _made_images(replace(op, inputs=op.inputs[1:3]), given[1:3])

    def copied(self, op: Op, given: tuple[Strides, ...]) -> tuple[Tensor, ...]:
        last = _takes_channels_last(op.inputs[1:3], given[1:3])
        return _turned_images(op.inputs[:2], given[:2], last=last)

    def kernels(self, op: Op) -> tuple[Kernel, ...]:
        dy, x, w = op.inputs
        made = iter(op.outputs)
        kernels = []
        for part, read, wanted in zip(
            _GRADIENTS, ((dy, w), (x, dy), (dy,)), _mask(op), strict=True
        ):
            if not wanted:
                continue
            alone = replace(op, attributes={**op.attributes, "mask": _only(part)})
            cost = replace(
                self.arithmetic(alone),
                read_bytes=sum(tensor.bytes for tensor in read),
                write_bytes=next(made).bytes,
            )
            kernels.append(
                Kernel(
                    kind="reduction",
                    dtype=arithmetic_dtype(op),
                    operations=cost.operations,
                    read_bytes=cost.read_bytes,
                    write_bytes=cost.write_bytes,
                )
                if part is None
                else _convolving(op, cost, part, x, w, dy)
            )
        return tuple(kernels)

    def scratch(self, op: Op, backend: Backend) -> Scratch:
        dy, x, w = op.inputs
        if backend != "cpu":
            return Scratch(turned=_turned(op, x, w, dy) if any(_mask(op)[:2]) else 0)
        if not _runs_on_onednn(op, x, w):
            return Scratch(running=_table(op, x, w, dy))
        dx_wanted, dw_wanted, _ = _mask(op)
        x_copy, w_copy, dy_copy = _copied(op, x, w, dy)
        dx, dw = x.bytes if dx_wanted else 0, w.bytes if dw_wanted else 0
        moments = [dx]
        if dx_wanted:
            moments += [dy_copy + w_copy + x.bytes, 2 * x.bytes]
        if dw_wanted:
            moments += [dx + x_copy + dy_copy + w_copy, dx + w_copy + w.bytes]
        return Scratch(running=max(max(moments) - dx - dw, 0))

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        dy, x, w = op.inputs
        forward = Convolution().axes(replace(op, inputs=(x, w), outputs=(dy,)))
        return (("B", "k", *("P", "Q", "R")[: len(dy.shape) - 2]), *forward)


@final
class ConvolutionOverTime(Operator):
    """A convolution over the first axis of a sequence whose channels come last, with a bias.

    Shapes: x (T, B, c), kernel (w, c, k), bias (k) -> (T', B, k)
    Counts: every output is a sum of w*c products, and the bias added.
    Source: by definition, as a convolution in one dimension.
    """

    kind = "convolution_over_time"
    family = "contraction"
    kernel_class = "convolution"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        (steps, batch, channels), w = op.inputs[0].shape, op.inputs[1].shape
        need(_same(channels, w[1]), f"the kernel takes {w[1]} channels, and the input {channels}")
        return ((steps + 2 * op.integer("padding", 0) - w[0] + 1, batch, w[2]),)

    def arithmetic(self, op: Op) -> Cost:
        w, sums = op.inputs[1].shape, op.outputs[0].elements
        return contraction(sums * w[0] * w[1], sums, addends=sums)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("T", "B", "c"), ("w", "c", "k"), ("k",))


_GRADIENTS: tuple[Part | None, ...] = ("input gradient", "weight gradient", None)
"""What a convolution's backward makes, in order: of its input, of its kernels, and of its bias, which is a sum."""

_SMALL_DEPTHWISE, _LARGE_DEPTHWISE = 5 * 5, 7 * 7
"""Places under a depthwise kernel up to which PyTorch takes cuDNN's kernels for it (1x1, 3x3 and 5x5;
`check_cudnn_depthwise_workload_with_filter` in aten/src/ATen/native/Convolution.cpp), and above which times leap again."""

_GROUPS_TOGETHER, _LARGEST_GROUP = 8, 32
"""How many groups the gradients of an even grouped convolution take at once, and of how many channels at most: where that
does not fit, timm's training steps on an RTX 3090 reach 1 to 5 TFLOP/s in them, and ResNeXts of 32 groups 15 and more."""

_ALIGNMENT = 8
_ALIGNED: frozenset[KernelClass] = frozenset(
    {"convolution 1x1", "convolution", "grouped convolution", "uneven grouped convolution"}
)
"""Matrix units take channels eight at a time, and cuDNN fills images up to that (cuDNN 7.6.3, release notes). The stem has
kernels of its own, and depthwise convolutions do not run on them."""

_STEM_CHANNELS = 4
"""Channels of an image, as the first layer reads them: too few to fill a tile's depth."""


def _only(part: Part | None) -> tuple[bool, ...]:
    return tuple(each == part for each in _GRADIENTS)


def _convolving(op: Op, cost: Cost, part: Part, x: Tensor, w: Tensor, y: Tensor) -> Kernel:
    """One of the three convolutions between x, w and y: each is a matrix product over a third axis.

    A transposed convolution is the one whose images are exchanged: what it reads is the smaller.
    """
    image, result = (y, x) if op.flag("transposed") else (x, y)
    groups = op.integer("groups", 1)
    places = result.shape[0] * product(result.shape[2:])
    columns, depth = w.shape[0] // groups, product(w.shape[1:])
    gemm = {
        "forward": Gemm(batch=groups, rows=places, columns=columns, depth=depth),
        "input gradient": Gemm(
            batch=groups, rows=places, columns=w.shape[1], depth=columns * product(w.shape[2:])
        ),
        "weight gradient": Gemm(batch=groups, rows=columns, columns=depth, depth=places),
    }[part]
    kind = _convolution_class(image, w, groups, part)
    return Kernel(
        kind=kind,
        part=part,
        dtype=arithmetic_dtype(op),
        macs=cost.macs,
        operations=max(cost.operations - 2 * cost.macs, 0),
        read_bytes=cost.read_bytes,
        write_bytes=cost.write_bytes,
        image_bytes=x.bytes + y.bytes,
        padded_bytes=sum(
            each.bytes for each in (x, y) if kind in _ALIGNED and each.shape[1] % _ALIGNMENT
        ),
        gemm=gemm,
    )


def _takes_channels_last(operands: Sequence[Tensor], given: Sequence[Strides]) -> bool:
    """Whether a convolution of an image and kernels runs with channels last: one of the two lies so.

    Source: `cudnn_conv_suggest_memory_format` in aten/src/ATen/native/ConvUtils.h.
    """
    return any(
        are_channels_last(tensor.shape, strides)
        for tensor, strides in zip(operands, given, strict=False)
    )


def _made_images(op: Op, given: Sequence[Strides]) -> tuple[Strides, ...]:
    last = _takes_channels_last(op.inputs[:2], given)
    return tuple(
        channels_last(result.shape) if last else in_order(result.shape) for result in op.outputs
    )


def _turned_images(
    images: Sequence[Tensor], given: Sequence[Strides], *, last: bool
) -> tuple[Tensor, ...]:
    """The images that lie otherwise than the convolution takes them."""
    return tuple(
        image
        for image, strides in zip(images, given, strict=True)
        if not lie_alike(
            image.shape, strides, channels_last(image.shape) if last else in_order(image.shape)
        )
    )


def _convolution_class(image: Tensor, w: Tensor, groups: int, part: Part) -> KernelClass:
    if groups > 1:
        if w.shape[1] > 1:
            made, read = w.shape[0] // groups, w.shape[1]
            even = made == read and made & (made - 1) == 0
            if part != "forward":
                even = even and made <= _LARGEST_GROUP and groups % _GROUPS_TOGETHER == 0
            return "grouped convolution" if even else "uneven grouped convolution"
        places = product(w.shape[2:])
        if places > _LARGE_DEPTHWISE:
            return "wide depthwise convolution"
        return (
            "large depthwise convolution" if places > _SMALL_DEPTHWISE else "depthwise convolution"
        )
    if image.shape[1] <= _STEM_CHANNELS:
        return "convolution stem"
    return "convolution 1x1" if product(w.shape[2:]) == 1 else "convolution"


_TOGETHER = {"float32": 4, "bfloat16": 8, "float16": 8}
"""Channels that a matrix unit takes at once: 16 bytes of them, float32 as TF32. cuDNN fills images up to that."""

_SMALL_STEM = 3
"""Places on a side of a stem's window up to which no copies were seen (SqueezeNet, ShuffleNet); with 7 and 11 they were."""


def _turned(op: Op, x: Tensor, w: Tensor, y: Tensor) -> int:
    """Bytes of the copies that cuDNN makes of x, weight and y, for matrix units take images with their channels last.

    A convolution of 1x1 is a matrix product either way, a depthwise one does not run on matrix units, and a stem of 3x3 has
    kernels of its own. So measured on an H100 (PyTorch 2.11 for CUDA 13.0, 2026-11-27): networks whose peak is in such a
    convolution come within 0.3 % of the allocator's, where without it they were up to 42 % below. Where cuDNN turns
    less, as of one image alone or of 32 channels, it is too much. Earlier GPUs were not measured.
    """
    together = _TOGETHER.get(x.dtype)
    image = y if op.flag("transposed") else x
    kind = _convolution_class(image, w, op.integer("groups", 1), "forward")
    if together is None or kind not in TURNED or len(w.shape) > 4:
        return 0
    if kind == "convolution stem" and max(w.shape[2:]) <= _SMALL_STEM:
        return 0
    return _in_blocks(x, 1, of=together) + w.bytes + _in_blocks(y, 1, of=together)


def _runs_on_onednn(op: Op, x: Tensor, w: Tensor) -> bool:
    """Whether a CPU's convolution is oneDNN's: of float32, where that is worth its while, on more than one thread.

    `ConvParams::use_mkldnn` in aten/src/ATen/native/Convolution.cpp. bfloat16 too where the CPU has instructions for
    it, which is not assumed here.
    """
    grouped = op.integer("groups", 1) > 1
    worth = grouped or x.shape[0] > 1 or min(w.shape[2:]) > 3 or x.elements > 20480
    return x.dtype == "float32" and worth


def _copied(op: Op, x: Tensor, w: Tensor, y: Tensor) -> tuple[int, int, int]:
    """Bytes of x, weight and y that oneDNN copies into blocks of channels.

    None where channels come in groups, unless each is its own. A last block is filled up; up to three channels are
    read as they lie, of x, and of the result of a transposed convolution.
    """
    groups = op.integer("groups", 1)
    if groups not in (1, x.shape[1]):
        return 0, 0, 0
    image, result = (y, x) if op.flag("transposed") else (x, y)
    few = image.shape[1] <= _AS_THEY_LIE and groups == 1
    taken = 0 if few else _in_blocks(image, 1)
    kernels = _in_blocks(w, 0) if few or groups > 1 else _in_blocks(w, 0, 1)
    if op.flag("transposed"):
        return _in_blocks(result, 1), kernels, taken
    return taken, kernels, _in_blocks(result, 1)


_AS_THEY_LIE = 3
"""Channels of an image."""

_BLOCK = 8
"""Channels in a block: as many float32 as a register of AVX2 holds; AVX-512 has 16."""


def _in_blocks(tensor: Tensor, *axes: int, of: int = _BLOCK) -> int:
    shape = list(tensor.shape)
    for axis in axes:
        shape[axis] = -(-shape[axis] // of) * of
    return bytes_of(product(tuple(shape)), tensor.dtype)


def _table(op: Op, x: Tensor, w: Tensor, y: Tensor) -> int:
    """Bytes of the table (im2col) in which PyTorch's own CPU kernel lays out what every output sees.

    A point sees what is there already. Groups run one after the other, and their results are joined.
    """
    joined = y.bytes if op.integer("groups", 1) > 1 else 0
    if product(w.shape[2:]) == 1 and set(op.integers("stride")) == {1}:
        return joined
    places = product(x.shape[2:] if op.flag("transposed") else y.shape[2:])
    return joined + bytes_of(x.shape[0] * product(w.shape[1:]) * places, x.dtype)


def convolution_macs(x: Shape, w: Shape, y: Shape, *, transposed: bool) -> int:
    """Products in a convolution of x (B, c, *image) with w (k, c/g, *kernel) to y (B, k, *output)."""
    return product(x if transposed else y) * product(w[1:])


def _stretched(names: tuple[str, ...], shape: Shape, full: Shape) -> tuple[str | int, ...]:
    """The names of a matrix' leading axes, those that are broadcast keeping their 1."""
    own = shape[:-2]
    skipped = len(full) - len(own)
    return tuple(
        name if size == here else here
        for name, size, here in zip(names[skipped:], full[skipped:], own, strict=True)
    )


def _swap_last(rank: int) -> tuple[int, ...]:
    return (*range(rank - 2), rank - 1, rank - 2)


def _mask(op: Op) -> tuple[bool, bool, bool]:
    mask = op.attributes["mask"]
    if not isinstance(mask, tuple) or len(mask) != 3:
        raise ShapeError(f"convolution_backward needs a mask of three, and has {mask!r}")
    return (bool(mask[0]), bool(mask[1]), bool(mask[2]))


def _same(a: int, b: int) -> bool:
    """Whether two sizes agree; symbols are taken to."""
    return a == b or not (isinstance(a, int) and isinstance(b, int))


register(
    Matmul(), Dot(), Outer(), SummedMatmul(), Trilinear(), GroupedMatmul(), Convolution(),
    ConvolutionBackward(), ConvolutionOverTime(),
)  # fmt: skip
