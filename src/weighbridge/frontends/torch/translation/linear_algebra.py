"""Factorisations, solutions and distances."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ....ops import spellings
from .reading import Reading


def _solve(a: Tensor, b: Tensor, *_: object, left: bool = True, **__: object) -> Reading:
    return Reading("solve", (a, b), {})


def _solve_triangular(a: Tensor, b: Tensor, *, unitriangular: bool = False, **_: object) -> Reading:
    return Reading("solve", (a, b), {"triangular": True, "unit": unitriangular})


def _solve_factored(lu: Tensor, pivots: Tensor, b: Tensor, **_: object) -> Reading:
    return Reading("solve", (lu, b), {"factored": True})


def _solve_cholesky(b: Tensor, factor: Tensor, *_: object, **__: object) -> Reading:
    return Reading("solve", (factor, b), {"cholesky": True})


def _solve_triangle(
    b: Tensor, a: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Reading:
    return Reading("solve", (a, b), {"triangular": True, "unit": unitriangular})


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


READINGS: dict[str, Callable[..., Reading]] = {
    "_linalg_solve_ex": _solve,
    "linalg_solve_triangular": _solve_triangular,
    "linalg_lu_solve": _solve_factored,
    "cholesky_solve": _solve_cholesky,
    "triangular_solve": _solve_triangle,
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
}
