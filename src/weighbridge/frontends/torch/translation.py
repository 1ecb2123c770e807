"""Translation: PyTorch's operators under our kinds, with our operands and attributes.

Most of PyTorch's spellings mean one of our kinds with the same operands in the same order; those are in
the registry of operators. Here are the others: each is a function with the operator's own parameters,
that returns the kind, the operands in our order and the attributes. An operator that neither knows
keeps its full name as its kind, and is reported as uncounted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload

from ...ops import rule_of, spellings
from ...program import Attributes, AttributeValue

Sizes = int | Sequence[int]


class Reading(NamedTuple):
    """One call of an operator in our terms. `kept` is how many of its results count, None for all."""

    kind: str
    operands: Sequence[Tensor]
    attributes: Attributes
    kept: int | None = None


class Handling(Enum):
    """What becomes of an operator: most are recorded."""

    RECORDED = "recorded"
    ALLOCATES = "takes memory and writes nothing into it"
    IGNORED = "does nothing to tensors, or makes another handle to the same one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What is known of an operator before it runs.

    `read` puts a call in our terms. `results` are the outputs that a layer hands on. `in_place` means
    that it writes over an operand, `writes_first` that it returns nothing and its results are its first
    argument.
    """

    kind: str
    name: str
    handling: Handling
    read: Callable[[tuple[Any, ...], dict[str, Any]], Reading]
    results: int
    in_place: bool
    writes_first: bool


def tensors_in(values: Iterable[object]) -> list[Tensor]:
    """The tensors among the values and in their lists, in order."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(tensors_in(value))
    return found


def translation_of(func: OpOverload) -> Translation:
    """How calls of this operator are to be written down."""
    known = _TRANSLATIONS.get(func)
    if known is None:
        known = _TRANSLATIONS[func] = _translate(func)
    return known


_TRANSLATIONS: dict[OpOverload, Translation] = {}


def _translate(func: OpOverload) -> Translation:
    namespace, _, name = func._schema.name.partition("::")
    plain = name if name.startswith("__") else name.rstrip("_")
    kind = spellings("aten").get(plain, "") if namespace == "aten" else ""
    special = _READINGS.get(plain) if namespace == "aten" else None
    if kind == "fill" and not name.endswith("_"):
        special = _fill  # `ones_like(x)` takes x's shape and reads nothing of it
    writes_first = not func._schema.returns
    in_place = func._schema.is_mutable and (writes_first or name.endswith("_"))
    if special is not None:
        kind = ""  # as its reading says
    unknown = special is None and not kind
    if unknown:
        kind = f"{namespace}.{name}"
    rule = rule_of(kind)
    return Translation(
        kind=kind,
        name=str(func),
        handling=_handling(namespace, plain),
        read=_unknown(func, kind) if unknown else _reader(special, kind),
        results=len(func._schema.returns) + 99 if rule is None or rule.view else rule.results,
        in_place=in_place,
        writes_first=writes_first,
    )


def _handling(namespace: str, plain: str) -> Handling:
    if namespace in ("prim", "profiler") or plain in _IGNORED:
        return Handling.IGNORED
    return Handling.ALLOCATES if plain in _ALLOCATES else Handling.RECORDED


def _reader(
    special: Callable[..., Reading] | None, kind: str
) -> Callable[[tuple[Any, ...], dict[str, Any]], Reading]:
    if special is not None:
        return lambda args, kwargs: special(*args, **kwargs)
    return lambda args, kwargs: Reading(kind, _operands(args, kwargs), {})


def _unknown(func: OpOverload, kind: str) -> Callable[[tuple[Any, ...], dict[str, Any]], Reading]:
    """An operator that has no rule, or one of the user's: its other arguments by their own names."""
    names = [argument.name for argument in func._schema.arguments]

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reading:
        named = {**dict(zip(names, args, strict=False)), **kwargs}
        attributes = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in named.items()
            if _is_plain(value)
        }
        return Reading(kind, _operands(args, kwargs), attributes)

    return read


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, int | float | bool | str)


def _operands(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Every tensor that goes in; `out=` is where the result goes."""
    if not kwargs:
        return tensors_in(args)
    return tensors_in((*args, *(value for key, value in kwargs.items() if key != "out")))


def _present(*tensors: Tensor | None) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor is not None]


def _each(sizes: Sizes, rank: int) -> tuple[int, ...]:
    """A size for every axis of an image, where one may stand for all."""
    values = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    return values * rank if len(values) == 1 else values


def _axes(dims: Sizes | None, rank: int) -> tuple[int, ...]:
    """Axes counted from the front; none given means all."""
    if dims is None or (not isinstance(dims, int) and not len(dims)):
        return tuple(range(rank))
    return tuple(dim % rank for dim in _each(dims, 1)) if rank else ()


# -- contractions ------------------------------------------------------------------------------------


def _addmm(bias: Tensor, x: Tensor, w: Tensor, *, beta: float = 1, alpha: float = 1) -> Reading:
    return Reading("matmul", (x, w, bias) if beta else (x, w), {})


def _scaled_mm(x: Tensor, w: Tensor, *_: object, **__: object) -> Reading:
    return Reading("matmul", (x, w), {})


def _addmv(bias: Tensor, x: Tensor, vector: Tensor, *, beta: float = 1, **_: object) -> Reading:
    return Reading("dot", (x, vector, bias) if beta else (x, vector), {})


def _addr(bias: Tensor, x: Tensor, y: Tensor, *, beta: float = 1, **_: object) -> Reading:
    return Reading("outer", (x, y, bias) if beta else (x, y), {})


def _addbmm(bias: Tensor, x: Tensor, w: Tensor, *, beta: float = 1, **_: object) -> Reading:
    return Reading("summed_matmul", (x, w, bias) if beta else (x, w), {})


def _grouped_mm(x: Tensor, w: Tensor, ends: Tensor | None = None, *_: object) -> Reading:
    return Reading("matmul" if ends is None else "grouped_matmul", _present(x, w, ends), {})


def _trilinear(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_c: Sequence[int],
    summed: Sequence[int],
    *_: object,
) -> Reading:
    rank = a.dim() + len(expand_a)
    attributes: dict[str, AttributeValue] = {"summed": tuple(summed)}
    for place, missing in enumerate((expand_a, expand_b, expand_c)):
        attributes[f"axes_{place}"] = tuple(axis for axis in range(rank) if axis not in missing)
    return Reading("trilinear", (a, b, c), attributes)


def _convolution(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
    *_: object,
) -> Reading:
    attributes = _geometry(w, stride, padding, dilation, transposed, output_padding, groups)
    return Reading("convolution", _present(x, w, bias), attributes)


def _convolution_backward(
    dy: Tensor,
    x: Tensor,
    w: Tensor,
    bias_sizes: Sizes | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
    output_mask: Sequence[bool],
) -> Reading:
    attributes = _geometry(w, stride, padding, dilation, transposed, output_padding, groups)
    attributes["mask"] = tuple(output_mask)
    return Reading("convolution_backward", (dy, x, w), attributes)


def _geometry(
    w: Tensor,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
) -> dict[str, AttributeValue]:
    rank = w.dim() - 2
    attributes: dict[str, AttributeValue] = {
        "stride": _each(stride, rank),
        "padding": _each(padding, rank),
        "dilation": _each(dilation, rank),
        "groups": groups,
        "transposed": transposed,
    }
    if transposed:
        attributes["output_padding"] = _each(output_padding, rank)
    return attributes


# -- normalisations ----------------------------------------------------------------------------------


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_variance: Tensor | None,
    training: bool,
    *_: object,
    **__: object,
) -> Reading:
    operands = _present(x, weight, bias, running_mean, running_variance)
    attributes = {"training": training, "affine": weight is not None}
    # Without batch statistics there is nothing to save: what stands in their place is empty.
    return Reading("batch_norm", operands, attributes, 3 if training else 1)


def _batch_norm_with_or_without_running(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any
) -> Reading:
    """Without running statistics `training` stands in their place."""
    if isinstance(rest[0], bool):
        return _batch_norm(x, weight, bias, None, None, rest[0])
    return _batch_norm(x, weight, bias, *rest)


def _batch_norm_of_training(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_variance: Tensor,
    *_: object,
) -> Reading:
    return _batch_norm(x, weight, bias, running_mean, running_variance, True)


def _batch_norm_of_evaluation(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_variance: Tensor,
    *_: object,
) -> Reading:
    return _batch_norm(x, weight, bias, running_mean, running_variance, False)


def _batch_norm_backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_variance: Tensor | None,
    mean: Tensor | None,
    deviation: Tensor | None,
    training: bool,
    *_: object,
) -> Reading:
    statistics = (mean, deviation) if training else (running_mean, running_variance)
    attributes = {"training": training, "affine": weight is not None}
    return Reading("batch_norm_backward", _present(dy, x, weight, *statistics), attributes)


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, *_: object
) -> Reading:
    return Reading("layer_norm", _present(x, weight, bias), {"rank": len(shape)})


def _layer_norm_backward(
    dy: Tensor,
    x: Tensor,
    shape: Sequence[int],
    mean: Tensor,
    deviation: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *_: object,
) -> Reading:
    operands = _present(dy, x, mean, deviation, weight, bias)
    return Reading("layer_norm_backward", operands, {"rank": len(shape)})


def _group_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    batch: int,
    channels: int,
    pixels: int,
    groups: int,
    *_: object,
) -> Reading:
    return Reading("group_norm", _present(x, weight, bias), {"groups": groups})


def _group_norm_backward(
    dy: Tensor,
    x: Tensor,
    mean: Tensor,
    deviation: Tensor,
    weight: Tensor | None,
    batch: int,
    channels: int,
    pixels: int,
    groups: int,
    output_mask: Sequence[bool],
) -> Reading:
    # The bias itself is not needed for its gradient, which is one more result.
    affine = sum(output_mask[1:]) if weight is not None else 0
    operands = _present(dy, x, mean, deviation, weight)
    return Reading("group_norm_backward", operands, {"groups": groups, "affine": affine})


# -- linear algebra and spectra ----------------------------------------------------------------------


def _solve(a: Tensor, b: Tensor, *_: object, left: bool = True, **__: object) -> Reading:
    return Reading("solve", (a, b), {})


def _solve_triangular(a: Tensor, b: Tensor, *, unitriangular: bool = False, **_: object) -> Reading:
    return Reading("solve", (a, b), {"triangular": True, "unit": unitriangular})


def _solve_factored(lu: Tensor, pivots: Tensor, b: Tensor, **_: object) -> Reading:
    return Reading("solve", (lu, b), {"factored": True})


def _factorisation(kind: str) -> Callable[..., Reading]:
    def read(a: Tensor, *_: object, **__: object) -> Reading:
        return Reading(kind, (a,), {})

    return read


def _cdist(x: Tensor, y: Tensor, power: float = 2, *_: object) -> Reading:
    return Reading("distance", (x, y), {"power": power})


def _euclidean_distance(x: Tensor, y: Tensor) -> Reading:
    return Reading("distance", (x, y), {"power": 2, "by_product": True})


def _cdist_backward(dy: Tensor, x: Tensor, y: Tensor, power: float, distances: Tensor) -> Reading:
    return Reading("distance_backward", (dy, x, y, distances), {})


def _pdist(x: Tensor, power: float = 2) -> Reading:
    return Reading("distance", (x,), {"power": power})


def _pdist_backward(dy: Tensor, x: Tensor, power: float, distances: Tensor) -> Reading:
    return Reading("distance_backward", (dy, x, distances), {})


def _fft(x: Tensor, dims: Sequence[int], *_: object) -> Reading:
    return _spectrum(x, dims, x.shape, x.dtype.to_complex(), real=False)


def _fft_of_real(x: Tensor, dims: Sequence[int], normalization: int, onesided: bool) -> Reading:
    shape = list(x.shape)
    if onesided:
        shape[dims[-1]] = shape[dims[-1]] // 2 + 1
    return _spectrum(x, dims, shape, x.dtype.to_complex(), real=True)


def _fft_to_real(x: Tensor, dims: Sequence[int], normalization: int, size: int) -> Reading:
    shape = list(x.shape)
    shape[dims[-1]] = size
    return _spectrum(x, dims, shape, x.dtype.to_real(), real=True)


def _spectrum(
    x: Tensor, dims: Sequence[int], shape: Sequence[int], dtype: torch.dtype, *, real: bool
) -> Reading:
    attributes: dict[str, AttributeValue] = {
        "axes": _axes(dims, x.dim()),
        "shape": tuple(shape),
        "dtype": str(dtype).removeprefix("torch."),
    }
    if real:
        attributes["real"] = True
    return Reading("fourier_transform", (x,), attributes)


# -- pooling -----------------------------------------------------------------------------------------


def _window(
    kernel: Sizes, stride: Sizes, padding: Sizes, ceil_mode: bool, rank: int
) -> dict[str, AttributeValue]:
    window = _each(kernel, rank)
    given = _each(stride, rank)
    return {
        "window": window,
        "stride": given or window,
        "padding": _each(padding, rank),
        "ceil_mode": ceil_mode,
    }


def _max_pool(rank: int) -> Callable[..., Reading]:
    def read(
        x: Tensor,
        kernel: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> Reading:
        attributes = _window(kernel, stride, padding, ceil_mode, rank)
        if any(step != 1 for step in _each(dilation, rank)):
            attributes["dilation"] = _each(dilation, rank)
        return Reading("max_pool", (x,), attributes)

    return read


def _max_pool_backward(
    dy: Tensor,
    x: Tensor,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    indices: Tensor,
) -> Reading:
    return Reading("max_pool_backward", (dy, x, indices), {})


def _average_pool(rank: int) -> Callable[..., Reading]:
    def read(
        x: Tensor,
        kernel: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        ceil_mode: bool = False,
        *_: object,
    ) -> Reading:
        return Reading("average_pool", (x,), _window(kernel, stride, padding, ceil_mode, rank))

    return read


def _average_pool_backward(rank: int) -> Callable[..., Reading]:
    def read(dy: Tensor, x: Tensor, kernel: Sizes, *_: object) -> Reading:
        return Reading("average_pool_backward", (dy, x), {"window": _each(kernel, rank)})

    return read


def _adaptive_pool(kind: str) -> Callable[..., Reading]:
    def read(x: Tensor, size: Sizes) -> Reading:
        return Reading(kind, (x,), {"size": _each(size, 1)})

    return read


def _adaptive_max_pool_backward(dy: Tensor, x: Tensor, indices: Tensor) -> Reading:
    return Reading("max_pool_backward", (dy, x, indices), {})


# -- attention, where PyTorch itself takes it whole --------------------------------------------------


def _attention(
    q: Tensor, k: Tensor, v: Tensor, rate: float = 0.0, causal: bool = False, *_: object,
    attn_mask: Tensor | None = None, **__: object,
) -> Reading:  # fmt: skip
    return Reading("attention", _present(q, k, v, attn_mask), {"causal": causal}, 2)


def _attention_backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    row_sums: Tensor,
    *rest: Any,
    **_: object,
) -> Reading:
    causal = any(value is True for value in rest)
    return Reading("attention_backward", (dy, q, k, v, y, row_sums), {"causal": causal})


def _attention_with_bias(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, keep_sums: bool, rate: float = 0.0,
    causal: bool = False, *_: object, **__: object,
) -> Reading:  # fmt: skip
    return Reading("attention", _present(q, k, v, bias), {"causal": causal}, 2)


def _attention_with_bias_backward(
    dy: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, y: Tensor, row_sums: Tensor,
    seed: object, offset: object, rate: float, wanted: object, causal: bool = False, *_: object, **__: object,
) -> Reading:  # fmt: skip
    return Reading("attention_backward", (dy, q, k, v, y, row_sums), {"causal": causal})


# -- resampling and indexing -------------------------------------------------------------------------


def _upsample(mode: str) -> Callable[..., Reading]:
    def read(x: Tensor, size: Sizes | None, *rest: object) -> Reading:
        if size is None:  # by factors, which come last
            factors = rest[-1]
            assert isinstance(factors, list | tuple)
            sides = zip(x.shape[2:], factors, strict=True)
            size = tuple(int(side * factor) for side, factor in sides)
        return Reading("upsample", (x,), {"size": tuple(_each(size, 1)), "mode": mode})

    return read


def _upsample_backward(mode: str) -> Callable[..., Reading]:
    def read(dy: Tensor, size: Sizes, shape: Sequence[int], *_: object) -> Reading:
        return Reading("upsample_backward", (dy,), {"shape": tuple(shape), "mode": mode})

    return read


_SAMPLING = ("bilinear", "nearest", "bicubic")
"""How PyTorch numbers the interpolations of grid sampling."""


def _grid_sample(x: Tensor, grid: Tensor, mode: int, *_: object) -> Reading:
    return Reading("grid_sample", (x, grid), {"mode": _SAMPLING[mode]})


def _grid_sample_backward(dy: Tensor, x: Tensor, grid: Tensor, mode: int, *_: object) -> Reading:
    return Reading("grid_sample_backward", (dy, x, grid), {"mode": _SAMPLING[mode]})


def _index_put(
    target: Tensor,
    indices: Sequence[Tensor | None],
    values: Tensor,
    accumulate: bool = False,
    *_: object,
) -> Reading:
    return Reading("scatter", _present(target, *indices, values), {"adds": accumulate})


def _scatter_add(target: Tensor, dim: int, indices: Tensor, values: Tensor, **_: object) -> Reading:
    return Reading("scatter", (target, indices, values), {"adds": True})


def _scatter(
    target: Tensor,
    dim: int,
    indices: Tensor,
    values: Any = 0,
    *_: object,
    reduce: str = "",
    **__: object,
) -> Reading:
    attributes = _COMBINED.get(reduce, {})
    if isinstance(values, Tensor):
        return Reading("scatter", (target, indices, values), attributes)
    return Reading("scatter", (target, indices), {**attributes, "written": indices.numel()})


_COMBINED: dict[str, dict[str, AttributeValue]] = {
    "add": {"adds": True}, "sum": {"adds": True}, "mean": {"adds": True},
    "amax": {"compares": True}, "amin": {"compares": True},
}  # fmt: skip
"""How scattered values meet what is there, by PyTorch's names."""


def _scatter_reduce(
    target: Tensor, dim: int, indices: Tensor, values: Tensor, reduce: str, *_: object, **__: object
) -> Reading:
    return Reading("scatter", (target, indices, values), _COMBINED.get(reduce, {}))


def _index_copy(target: Tensor, dim: int, indices: Tensor, values: Tensor) -> Reading:
    return Reading("scatter", (target, indices, values), {})


def _index_fill(target: Tensor, dim: int, indices: Tensor, value: object) -> Reading:
    along = target.shape[dim] if target.dim() else 1
    written = indices.numel() * target.numel() // max(along, 1)
    return Reading("scatter", (target, indices), {"written": written})


def _put(target: Tensor, indices: Tensor, values: Tensor, accumulate: bool = False) -> Reading:
    return Reading("scatter", (target, indices, values), {"adds": accumulate})


def _write_part(target: Tensor, values: Tensor, *_: object, **__: object) -> Reading:
    return Reading("scatter", (target, values), {})


def _sort(x: Tensor, dim: int = -1, *_: object, **named: Any) -> Reading:
    return Reading("sort", (x,), {"axis": named.get("dim", dim) % max(x.dim(), 1)})


def _middle(x: Tensor, dim: int | None = None, *_: object, **__: object) -> Reading:
    """The median: of a row, or of all numbers."""
    return Reading("sort", (x,), {"flat": True}) if dim is None else _sort(x, dim)


def _smallest(x: Tensor, k: int, dim: int = -1, *_: object) -> Reading:
    return _sort(x, dim)


def _distinct(x: Tensor, *_: object, **__: object) -> Reading:
    return Reading("sort", (x,), {"flat": True})


def _search(row: Tensor, values: Any, **_: object) -> Reading:
    return Reading("search", tensors_in((row, values)), {})


def _bucket(values: Any, row: Tensor, **_: object) -> Reading:
    return Reading("search", tensors_in((row, values)), {})


def _histogram(x: Tensor, bins: int = 100, *_: object) -> Reading:
    return Reading("histogram", (x,), {"bins": bins})


def _fold(x: Tensor, size: Sequence[int], kernel: Sequence[int], *_: object) -> Reading:
    channels = x.shape[-2] // (kernel[0] * kernel[1])
    return Reading("fold", (x,), {"shape": (*x.shape[:-2], channels, *size)})


def _windows_backward(dy: Tensor, shape: Sequence[int], *_: object) -> Reading:
    return Reading("fold", (dy,), {"shape": tuple(shape)})


def _padding_backward(dy: Tensor, x: Tensor, *_: object) -> Reading:
    return Reading("fold", (dy,), {"shape": tuple(x.shape)})


def _smooth_upsample(mode: str) -> Callable[..., Reading]:
    def read(x: Tensor, size: Sequence[int], *_: object) -> Reading:
        return Reading("smooth_upsample", (x,), {"size": tuple(size), "mode": mode})

    return read


def _smooth_upsample_backward(mode: str) -> Callable[..., Reading]:
    def read(dy: Tensor, size: Sequence[int], shape: Sequence[int], *_: object) -> Reading:
        attributes: dict[str, AttributeValue] = {"shape": tuple(shape), "mode": mode}
        return Reading("smooth_upsample_backward", (dy,), attributes)

    return read


def _affine_grid(maps: Tensor, size: Sequence[int], *_: object) -> Reading:
    return Reading("affine_grid", (maps,), {"image": tuple(size[2:])})


def _top(x: Tensor, k: int, dim: int = -1, *_: object) -> Reading:
    return Reading("sort", (x,), {"axis": dim % max(x.dim(), 1), "k": k})


# -- softmax, losses, embeddings ---------------------------------------------------------------------


def _along(kind: str) -> Callable[..., Reading]:
    """What works along one axis: softmax and partial sums."""

    def read(x: Tensor, dim: int, *_: object, **__: object) -> Reading:
        return Reading(kind, (x,), {"axis": dim % max(x.dim(), 1)})

    return read


def _softmax_backward(kind: str) -> Callable[..., Reading]:
    def read(dy: Tensor, y: Tensor, dim: int, *_: object) -> Reading:
        return Reading(kind, (dy, y), {"axis": dim % max(y.dim(), 1)})

    return read


def _nll_loss(
    x: Tensor, targets: Tensor, weight: Tensor | None, reduction: int, *_: object
) -> Reading:
    return Reading("nll_loss", (x, targets), {})


def _nll_loss_backward(
    dy: Tensor,
    x: Tensor,
    targets: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignored: int,
    total_weight: Tensor,
) -> Reading:
    return Reading("nll_loss_backward", (dy, x, targets, total_weight), {})


def _embedding(table: Tensor, indices: Tensor, *_: object) -> Reading:
    return Reading("embedding", (table, indices), {})


def _embedding_backward(dy: Tensor, indices: Tensor, rows: int, *_: object) -> Reading:
    return Reading("embedding_backward", (dy, indices), {"rows": rows})


def _embedding_bag(
    table: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    weights: Tensor | None = None,
    include_last_offset: bool = False,
    *_: object,
) -> Reading:
    attributes: dict[str, AttributeValue] = dict(_BAGS[mode])
    if include_last_offset:
        attributes["ends"] = True
    return Reading("embedding_bag", _present(table, indices, offsets, weights), attributes)


_BAGS: tuple[dict[str, AttributeValue], ...] = ({}, {"mean": True}, {"largest": True})
"""PyTorch's modes of bags by number: sum, mean, max."""


def _embedding_bag_backward(
    dy: Tensor, indices: Tensor, offsets: Tensor, *rest: Any, **_: object
) -> Reading:
    # After the tensors come the table's rows, whether rows are scaled by how often they occur, and the mode.
    rows, _by_frequency, mode = tuple(value for value in rest if isinstance(value, int))[:3]
    attributes: dict[str, AttributeValue] = {**_BAGS[mode], "rows": rows}
    return Reading("embedding_bag_backward", (dy, indices), attributes)


# -- elementwise and reductions ----------------------------------------------------------------------


def _scaled(kind: str) -> Callable[..., Reading]:
    """An addition whose second operand may be scaled by `alpha`."""

    def read(
        x: Any, y: Any, alpha_by_place: float = 1, *, alpha: float = 1, **_: object
    ) -> Reading:
        scale = alpha if alpha != 1 else alpha_by_place
        return Reading(kind, tensors_in((x, y)), {"alpha": scale} if scale != 1 else {})

    return read


def _absolute(x: Tensor) -> Reading:
    return Reading("modulus" if x.is_complex() else "negative", (x,), {})


def _gelu(x: Tensor, *, approximate: str = "none") -> Reading:
    return Reading("gelu_tanh" if approximate == "tanh" else "gelu", (x,), {})


def _gelu_backward(dy: Tensor, x: Tensor, *, approximate: str = "none") -> Reading:
    kind = "gelu_tanh_backward" if approximate == "tanh" else "gelu_backward"
    return Reading(kind, (dy, x), {})


def _pow(x: Any, exponent: Any) -> Reading:
    """A square is a multiplication and a square root a square root, as PyTorch computes them."""
    plain = exponent if isinstance(exponent, int | float) else None
    kind = {2: "square", 0.5: "sqrt", -0.5: "rsqrt"}.get(plain, "pow") if plain else "pow"
    return Reading(kind, tensors_in((x, exponent)), {})


def _dropout_backward(dy: Tensor, mask: Tensor, scale: float) -> Reading:
    return Reading("mul", (dy, mask), {})


def _dropout(x: Tensor, rate: float, train: bool | None) -> Reading:
    return Reading("dropout", (x,), {"rate": rate})


def _reduce(kind: str) -> Callable[..., Reading]:
    def read(
        x: Tensor, dim: Sizes | None = None, *rest: object, keepdim: bool = False, **_: object
    ) -> Reading:
        if isinstance(dim, bool | float):  # `var(unbiased)`
            dim = None
        keep = keepdim or (bool(rest) and rest[-1] is True)
        attributes: dict[str, AttributeValue] = {"axes": _axes(dim, x.dim())}
        if keep:
            attributes["keep"] = True
        return Reading(kind, (x,), attributes)

    return read


def _norm(
    x: Tensor,
    order: object = 2,
    dim: Sizes | None = None,
    keepdim: bool = False,
    **_: object,
) -> Reading:
    attributes: dict[str, AttributeValue] = {"axes": _axes(dim, x.dim())}
    if keepdim:
        attributes["keep"] = True
    return Reading("norm", (x,), attributes)


def _extreme(x: Tensor, dim: Any = None, keepdim: bool = False, **_: object) -> Reading:
    if isinstance(dim, Tensor):  # max(a, b) is elementwise
        return Reading("extremum", (x, dim), {})
    return _reduce("extreme")(x, dim, keepdim=keepdim)


# -- movement ----------------------------------------------------------------------------------------


def _concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Reading:
    # An empty list entry of shape (0,) is allowed and joins nothing.
    joined = [tensor for tensor in tensors if tensor.dim() > 1 or tensor.numel()]
    return Reading("concatenate", joined, {"axis": dim % max(joined[0].dim(), 1) if joined else 0})


def _fill(*_: object, **__: object) -> Reading:
    return Reading("fill", (), {})


_RESAMPLED = (
    *(("upsample_nearest", "nearest", rank) for rank in (1, 2, 3)),
    *(("_upsample_nearest_exact", "nearest", rank) for rank in (1, 2, 3)),
    ("upsample_linear", "linear", 1),
    ("upsample_bilinear", "bilinear", 2),
    ("upsample_trilinear", "trilinear", 3),
    ("upsample_bicubic", "bicubic", 2),
)
"""PyTorch's names for resampling, without the rank behind them."""

_READINGS: dict[str, Callable[..., Reading]] = {
    "addmm": _addmm,
    "baddbmm": _addmm,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_backward": _attention_backward,
    "_scaled_dot_product_efficient_attention": _attention_with_bias,
    "_scaled_dot_product_efficient_attention_backward": _attention_with_bias_backward,
    "_scaled_dot_product_cudnn_attention": _attention_with_bias,
    "_scaled_dot_product_cudnn_attention_backward": _attention_backward,
    "addmv": _addmv,
    "addr": _addr,
    "addbmm": _addbmm,
    "_grouped_mm": _grouped_mm,
    "_trilinear": _trilinear,
    "_linalg_solve_ex": _solve,
    "linalg_solve_triangular": _solve_triangular,
    "linalg_lu_solve": _solve_factored,
    **{
        name: _factorisation(kind)
        for name, kind in spellings("aten").items()
        if kind in ("cholesky", "lu", "inverse", "determinant", "log_determinant")
    },
    "_cdist_forward": _cdist,
    "_euclidean_dist": _euclidean_distance,
    "_cdist_backward": _cdist_backward,
    "_pdist_forward": _pdist,
    "_pdist_backward": _pdist_backward,
    "_fft_c2c": _fft,
    "_fft_r2c": _fft_of_real,
    "_fft_c2r": _fft_to_real,
    "_scaled_mm": _scaled_mm,
    "_int_mm": _scaled_mm,
    "convolution": _convolution,
    "_convolution": _convolution,
    "convolution_overrideable": _convolution,
    "convolution_backward": _convolution_backward,
    "convolution_backward_overrideable": _convolution_backward,
    "native_batch_norm": _batch_norm,
    "cudnn_batch_norm": _batch_norm,
    "_native_batch_norm_legit": _batch_norm_with_or_without_running,
    "_native_batch_norm_legit_functional": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm_of_evaluation,
    "_batch_norm_no_update": _batch_norm_of_evaluation,
    "_batch_norm_with_update": _batch_norm_of_training,
    "native_batch_norm_backward": _batch_norm_backward,
    "native_layer_norm": _layer_norm,
    "native_layer_norm_backward": _layer_norm_backward,
    "native_group_norm": _group_norm,
    "native_group_norm_backward": _group_norm_backward,
    "max_pool2d_with_indices": _max_pool(2),
    "max_pool3d_with_indices": _max_pool(3),
    "max_pool2d_with_indices_backward": _max_pool_backward,
    "max_pool3d_with_indices_backward": _max_pool_backward,
    "avg_pool2d": _average_pool(2),
    "avg_pool3d": _average_pool(3),
    "avg_pool2d_backward": _average_pool_backward(2),
    "avg_pool3d_backward": _average_pool_backward(3),
    "_adaptive_avg_pool2d": _adaptive_pool("adaptive_average_pool"),
    "_adaptive_avg_pool3d": _adaptive_pool("adaptive_average_pool"),
    "adaptive_max_pool2d": _adaptive_pool("adaptive_max_pool"),
    "adaptive_max_pool3d": _adaptive_pool("adaptive_max_pool"),
    "adaptive_max_pool2d_backward": _adaptive_max_pool_backward,
    "adaptive_max_pool3d_backward": _adaptive_max_pool_backward,
    **{f"{name}{rank}d": _upsample(mode) for name, mode, rank in _RESAMPLED},
    **{f"{name}{rank}d_backward": _upsample_backward(mode) for name, mode, rank in _RESAMPLED},
    "grid_sampler_2d": _grid_sample,
    "grid_sampler_3d": _grid_sample,
    "grid_sampler_2d_backward": _grid_sample_backward,
    "grid_sampler_3d_backward": _grid_sample_backward,
    "scatter": _scatter,
    "scatter_reduce": _scatter_reduce,
    "index_copy": _index_copy,
    "index_fill": _index_fill,
    "put": _put,
    "select_scatter": _write_part,
    "slice_scatter": _write_part,
    "diagonal_scatter": _write_part,
    "sort": _sort,
    "argsort": _sort,
    "median": _middle,
    "nanmedian": _middle,
    "mode": _sort,
    "kthvalue": _smallest,
    "_unique2": _distinct,
    "unique_consecutive": _distinct,
    "unique_dim": _distinct,
    "searchsorted": _search,
    "bucketize": _bucket,
    "histc": _histogram,
    "col2im": _fold,
    "unfold_backward": _windows_backward,
    **{
        f"{mode}_pad{rank}d_backward": _padding_backward
        for mode in ("reflection", "replication")
        for rank in (1, 2, 3)
    },
    **{f"_upsample_{mode}2d_aa": _smooth_upsample(mode) for mode in ("bilinear", "bicubic")},
    **{
        f"_upsample_{mode}2d_aa_backward": _smooth_upsample_backward(mode)
        for mode in ("bilinear", "bicubic")
    },
    "affine_grid_generator": _affine_grid,
    "index_put": _index_put,
    "_index_put_impl": _index_put,
    "_unsafe_index_put": _index_put,
    "scatter_add": _scatter_add,
    "index_add": _scatter_add,
    "topk": _top,
    "_softmax": _along("softmax"),
    "_safe_softmax": _along("softmax"),
    "_log_softmax": _along("log_softmax"),
    "_softmax_backward_data": _softmax_backward("softmax_backward"),
    "_log_softmax_backward_data": _softmax_backward("log_softmax_backward"),
    "nll_loss_forward": _nll_loss,
    "nll_loss2d_forward": _nll_loss,
    "nll_loss_backward": _nll_loss_backward,
    "nll_loss2d_backward": _nll_loss_backward,
    "embedding": _embedding,
    "embedding_dense_backward": _embedding_backward,
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    "_embedding_bag_backward": _embedding_bag_backward,
    "_embedding_bag_dense_backward": _embedding_bag_backward,
    "abs": _absolute,
    "add": _scaled("add"),
    "sub": _scaled("sub"),
    "rsub": _scaled("sub"),
    "_foreach_add": _scaled("add"),
    "_foreach_sub": _scaled("sub"),
    "gelu": _gelu,
    "gelu_backward": _gelu_backward,
    "pow": _pow,
    "_foreach_pow": _pow,
    "native_dropout": _dropout,
    "native_dropout_backward": _dropout_backward,
    "sum": _reduce("sum"),
    "mean": _reduce("mean"),
    "amax": _reduce("extreme"),
    "amin": _reduce("extreme"),
    "logsumexp": _reduce("logsumexp"),
    "nansum": _reduce("sum"),
    "count_nonzero": _reduce("sum"),
    "any": _reduce("extreme"),
    "all": _reduce("extreme"),
    "argmax": _reduce("extreme"),
    "argmin": _reduce("extreme"),
    "max": _extreme,
    "min": _extreme,
    "cumsum": _along("running_sum"),
    "logcumsumexp": _along("running_logsumexp"),
    "cumprod": _along("running_product"),
    "cummax": _along("running_extreme"),
    "cummin": _along("running_extreme"),
    "var": _reduce("variance"),
    "std": _reduce("variance"),
    "var_mean": _reduce("variance"),
    "std_mean": _reduce("variance"),
    "prod": _reduce("product"),
    "linalg_vector_norm": _norm,
    "cat": _concatenate,
}

_IGNORED = frozenset(
    {"detach", "alias", "lift_fresh", "lift", "is_pinned", "is_same_size", "sym_size", "sym_numel",
     "sym_stride", "sym_storage_offset", "sym_is_contiguous", "size", "stride", "is_contiguous",
     "_has_same_storage_numel", "_assert_async", "_assert_tensor_metadata", "_linalg_check_errors", "promote_types", "equal", "_local_scalar_dense", "_debug_has_internal_overlap"}
)  # fmt: skip

_ALLOCATES = frozenset(
    {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"}
)
