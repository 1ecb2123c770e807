"""Indexing, resampling, spectra and experts against sums by hand."""

from __future__ import annotations

import pytest

from by_hand import cost, run
from weighbridge.errors import ShapeError
from weighbridge.ops.indexing import doublings


def test_linear_interpolation_is_a_sum_of_four_products() -> None:
    # 2*3 channels, 8x8 outputs: 384 sums of 4
    found = cost(run("upsample", (2, 3, 4, 4), size=(8, 8), mode="bilinear"))
    assert (found.multiplications, found.additions) == (384 * 4, 384 * 3)
    assert (
        cost(run("upsample", (2, 3, 4, 4), size=(8, 8), mode="bicubic")).multiplications == 384 * 16
    )
    assert cost(run("upsample", (2, 3, 4), size=(8,), mode="linear")).additions == 48
    assert cost(run("upsample", (2, 3, 4, 4), size=(8, 8), mode="nearest")).operations == 0


def test_the_gradient_of_an_interpolation_goes_where_the_output_came_from() -> None:
    found = cost(run("upsample_backward", (2, 3, 8, 8), shape=(2, 3, 4, 4), mode="bilinear"))
    assert (found.multiplications, found.additions) == (384 * 4, 384 * 4)
    nearest = cost(run("upsample_backward", (2, 3, 8, 8), shape=(2, 3, 4, 4), mode="nearest"))
    assert (nearest.multiplications, nearest.additions) == (0, 384)


def test_sampling_pays_for_its_weights_at_every_place() -> None:
    # 2 samples of 5*4 = 40 places with 2 coordinates, 6 channels: 240 outputs. A place: 2 scales; 4 corner
    # weights of one product each; 2 shifts and 2*2 weights from an addition each. An output: 4 products.
    found = cost(run("grid_sample", (2, 6, 8, 10), (2, 5, 4, 2), mode="bilinear"))
    assert found.multiplications == 40 * (2 + 4) + 240 * 4
    assert found.additions == 40 * (2 + 4) + 240 * 3


def test_adaptive_maxima() -> None:
    # 8x10 to 1x1: 79 comparisons a channel
    assert cost(run("adaptive_max_pool", (2, 6, 8, 10), size=(1, 1))).comparisons == 12 * 79


def test_sorting_by_merging_and_choosing_by_a_heap() -> None:
    # 6 rows of 8: 8 * 3 comparisons each; the largest 3 of 8: 8 * 2
    assert cost(run("sort", (6, 8), axis=1)).comparisons == 6 * 24
    chosen = run("sort", (6, 8), axis=1, k=3)
    assert [(t.shape, t.dtype) for t in chosen.outputs] == [((6, 3), "float32"), ((6, 3), "int64")]
    assert cost(chosen).comparisons == 6 * 8 * 2
    assert cost(run("search", (7,), (5, 5))).comparisons == 25 * 3
    assert [doublings(size) for size in (0, 1, 2, 3, 4, 5, 8, 9)] == [0, 0, 1, 2, 2, 3, 3, 4]


def test_scattering() -> None:
    # 3*4 values of 4 bytes added to a 10x4 tensor at 3 places: 12 additions
    op = run("scatter", (10, 4), (3,), (3, 4), adds=True)
    assert cost(op).additions == 12
    # values, indices and the target there read; out of place the target is copied too
    assert cost(op).read_bytes == 48 + 12 + 48 + 160
    assert cost(op).write_bytes == 48 + 160
    assert cost(run("scatter", (10, 4), (3,), (3, 4))).operations == 0


def test_a_bag_sums_its_rows() -> None:
    # 20 rows of 8 in 4 bags: 16 additions of a row, 4 means of a row
    assert cost(run("embedding_bag", (100, 8), (20,), (4,))).additions == 16 * 8
    assert cost(run("embedding_bag", (100, 8), (20,), (4,), mean=True)).divisions == 32


def test_a_transform_of_eight_has_twelve_butterflies() -> None:
    # 8/2 * log2 8 = 12 butterflies of 4 multiplications and 6 additions
    found = cost(run("fourier_transform", (8,), axes=(0,), shape=(8,), dtype="complex64"))
    assert (found.multiplications, found.additions) == (48, 72)
    real = cost(run("fourier_transform", (8,), axes=(0,), shape=(5,), real=True, dtype="complex64"))
    assert (real.multiplications, real.additions) == (24, 36)


def test_every_row_meets_one_expert() -> None:
    # 32 rows through 4 experts of 16 -> 24: 32*16*24 products, not four times that
    op = run("grouped_matmul", (32, 16), (4, 16, 24), (4,))
    assert op.outputs[0].shape == (32, 24)
    assert cost(op).macs == 32 * 16 * 24
    gradient = run("grouped_matmul", (16, 32), (32, 24), (4,))
    assert gradient.outputs[0].shape == (4, 16, 24)
    assert cost(gradient).macs == 32 * 16 * 24


@pytest.mark.parametrize(
    ("kind", "shapes", "attributes", "message"),
    [
        ("upsample", ((2, 3, 4, 4),), {"size": (8,), "mode": "linear"}, r"\(2, 3, 4, 4\) does not scale to \(8,\)"),
        ("upsample", ((2, 3, 4, 4),), {"size": (8, 8), "mode": "magic"}, "no interpolation is called 'magic'"),
        ("grid_sample", ((2, 3, 4, 4), (2, 5, 3)), {"mode": "bilinear"}, r"sampled at a grid \(2, 5, 3\)"),
        ("grid_sample", ((2, 3, 4, 4), (2, 5, 5, 2)), {"mode": "area"}, "no sampling is called 'area'"),
        ("sort", ((3, 4),), {"k": 5}, "the largest 5 of rows of 4"),
        ("grouped_matmul", ((2, 32, 16), (4, 16, 24), (4,)), {}, "a grouped matrix product of shapes"),
        ("grouped_matmul", ((32, 17), (4, 16, 24), (4,)), {}, "needs 17 rows on the right"),
    ],
)  # fmt: skip
def test_what_does_not_fit(
    kind: str, shapes: tuple[tuple[int, ...], ...], attributes: dict[str, object], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        cost(run(kind, *shapes, **attributes))
