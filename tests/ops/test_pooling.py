"""Pooling against sums by hand."""

from __future__ import annotations

import pytest

from by_hand import cost, run
from weighbridge.errors import ShapeError
from weighbridge.ops.pooling import covered_by_windows


def window(
    size: int, stride: int, padding: int = 0, *, ceil_mode: bool = False
) -> dict[str, object]:
    return {
        "window": (size, size), "stride": (stride, stride), "padding": (padding, padding),
        "ceil_mode": ceil_mode,
    }  # fmt: skip


def test_a_maximum_of_nine_takes_eight_comparisons() -> None:
    # ResNet's: 112 -> (112 + 2 - 3)//2 + 1 = 56
    op = run("max_pool", (1, 64, 112, 112), **window(3, 2, 1))
    assert [(t.shape, t.dtype) for t in op.outputs] == [
        ((1, 64, 56, 56), "float32"),
        ((1, 64, 56, 56), "int64"),
    ]
    assert cost(op).comparisons == 64 * 56 * 56 * 8


@pytest.mark.parametrize(
    ("size", "settings", "places"),
    [
        (112, window(3, 2), 55),  # floor(109/2) + 1
        (112, window(3, 2, ceil_mode=True), 56),  # ceil(109/2) + 1: the last hangs over the edge
        (5, window(2, 2, ceil_mode=True), 3),  # starts at 0, 2, 4
        (4, window(1, 3, ceil_mode=True), 2),  # starts at 0, 3
        (
            5,
            window(1, 3, ceil_mode=True),
            2,
        ),  # ceil(4/3) + 1 = 3, and the third would start at 6: dropped
    ],
)
def test_ceil_mode_keeps_windows_that_start_inside(
    size: int, settings: dict[str, object], places: int
) -> None:
    assert run("max_pool", (1, 1, size, size), **settings).outputs[0].shape[-1] == places


def test_a_window_wider_than_the_image_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"a pooling window 3 wide on an input \(1, 1, 2, 2\)"):
        run("max_pool", (1, 1, 2, 2), **window(3, 1))


def test_a_mean_of_four_takes_three_additions_and_a_division() -> None:
    found = cost(run("average_pool", (1, 2, 4, 4), **window(2, 2)))
    assert (found.additions, found.divisions) == (2 * 4 * 3, 2 * 4)


def test_adaptive_windows_cover_the_image() -> None:
    # 7x7 to 1x1: 48 additions and a division a channel
    found = cost(run("adaptive_average_pool", (1, 512, 7, 7), size=(1, 1)))
    assert (found.additions, found.divisions) == (512 * 48, 512)
    # 6 in 4 places: [0,2) [1,3) [3,5) [4,6), 8 long together
    assert covered_by_windows(6, 4) == 8
    # 7 in 7 places is the identity: no additions
    assert cost(run("adaptive_average_pool", (1, 512, 7, 7), size=(7, 7))).additions == 0


def test_gradients() -> None:
    assert cost(run("max_pool_backward", (1, 2, 2, 2), (1, 2, 4, 4), (1, 2, 2, 2))).additions == 8
    found = cost(run("average_pool_backward", (1, 2, 2, 2), (1, 2, 4, 4), window=(2, 2)))
    assert (found.additions, found.divisions) == (8 * 4, 8)
