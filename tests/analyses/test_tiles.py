"""Tiles: what a matrix product costs beyond its multiply-accumulates, worked out on tiny ones."""

from dataclasses import replace

import pytest

from weighbridge.analyses.time.tiles import (
    CONVOLUTION,
    MATRIX,
    VECTOR,
    Tile,
    Tiling,
    reach_of,
    stretch,
    tiling,
    walk,
)
from weighbridge.ops.kernel import Gemm

SQUARE = Tiling(tiles=(Tile(columns=64, rows=64),), edge=0, prologue=0, tail=1)


def product(rows, columns, depth=10, batch=1):
    return Gemm(batch=batch, rows=rows, columns=columns, depth=depth)


def test_tiles_that_fit_cost_nothing():
    # 128 x 128 is four tiles of 64 x 64, one for each of 4 multiprocessors
    assert stretch(product(128, 128), SQUARE, multiprocessors=4) == pytest.approx(1)


def test_a_tile_over_the_edge_computes_zeros():
    # 65 columns take two tiles, as 128 do: 128/65
    assert stretch(product(128, 65), SQUARE, multiprocessors=4) == pytest.approx(128 / 65)


def test_a_wave_is_as_long_as_a_full_one():
    # 109 tiles on 108 multiprocessors take two turns: 216 / 109
    over = product(64, 64, batch=109)
    assert stretch(over, SQUARE, multiprocessors=108) == pytest.approx(216 / 109)
    # half of it where half of the last wave is paid: (2 + 109/108) / 2 turns
    half = Tiling(tiles=SQUARE.tiles, edge=0, prologue=0, tail=0.5)
    assert stretch(over, half, multiprocessors=108) == pytest.approx((216 + 109) / 2 / 109)
    # one tile leaves three of four multiprocessors idle, however the tail is shared
    assert stretch(product(64, 64), half, multiprocessors=4) == pytest.approx(4)


def test_filling_the_pipeline_is_paid_once_a_tile():
    # 10 steps and 5 to fill it
    filled = Tiling(tiles=SQUARE.tiles, edge=0, prologue=5, tail=1)
    assert stretch(product(128, 128), filled, multiprocessors=4) == pytest.approx(1.5)


def test_a_deep_product_of_one_tile_is_split_along_its_depth():
    # four blocks take 250 steps each
    split = Tiling(tiles=SQUARE.tiles, edge=0, prologue=0, tail=1, split=4)
    assert stretch(product(64, 64, depth=1000), split, multiprocessors=4) == pytest.approx(1)
    assert stretch(product(64, 64, depth=1000), SQUARE, multiprocessors=4) == pytest.approx(4)


def test_the_tile_is_the_one_that_is_fastest():
    # tiles of 64 wait for loads twice as long as for products (1 + 64/64 + 64/64 = 3), of 128 as long (2): 1.5 times
    both = Tiling(
        tiles=(Tile(columns=128, rows=128), Tile(columns=64, rows=64)), edge=64, prologue=0, tail=1
    )
    # 128 x 128 on one multiprocessor is one large tile; on four, a quarter of the products 1.5 times
    assert stretch(product(128, 128), both, multiprocessors=1) == pytest.approx(1)
    assert stretch(product(128, 128), both, multiprocessors=4) == pytest.approx(1.5)


def test_half_precision_wants_multiples_of_eight():
    even, odd = product(4096, 50304, 768), product(4096, 50257, 768)
    ratio = stretch(odd, MATRIX, multiprocessors=108) / stretch(even, MATRIX, multiprocessors=108)
    assert ratio == pytest.approx(1.8, rel=0.01)
    ratio = stretch(odd, VECTOR, multiprocessors=108) / stretch(even, VECTOR, multiprocessors=108)
    assert ratio == pytest.approx(1, rel=0.01)


def test_large_products_come_to_the_rate_of_large_tiles():
    for way in (MATRIX, VECTOR):
        assert stretch(product(65536, 8192, 4096), way, multiprocessors=108) == pytest.approx(
            1, rel=0.02
        )


def test_batches_take_one_tile_on_the_general_cores():
    # 64 columns of a tile of 128: half of it is for nothing (NeuSight's A100, 2,560 x (384 x 384)(384 x 64))
    heads = product(384, 64, 384, batch=2560)
    ampere = tiling(architecture="ampere-a100", matrix=False, batched=True)
    assert stretch(heads, ampere, multiprocessors=108) == pytest.approx(2, rel=0.04)
    assert tiling(architecture="ampere-a100", matrix=True, batched=True) is MATRIX
    assert tiling(architecture="volta", matrix=False, batched=True) is VECTOR
    assert tiling(architecture="pascal", matrix=False, batched=False) is VECTOR


def test_deep_rows_lie_on_more_pages_than_are_translated_at_once():
    # 4,096 + 4,096 rows of 16,384 float32 numbers, 64 KiB: 256 pages of 2 MiB
    deep = product(4096, 4096, 16384)
    assert walk(deep, reach_of("pascal"), itemsize=4) == pytest.approx((256 / 88) ** 0.38)
    assert walk(deep, reach_of("ampere-a100"), itemsize=4) == 1
    # no more than 12,000 rows are walked together: 375 pages
    wide = product(65536, 50257, 16384)
    assert walk(wide, reach_of("volta"), itemsize=4) == pytest.approx((375 / 273) ** 0.15)
    assert walk(wide, reach_of("volta"), itemsize=2) == 1


def test_what_fills_no_tile_is_streamed():
    # 4 columns of a tile's 64, 16 times their own, and 4 steps of depth beside 10 to fill the pipeline: 56; or 20
    tiling = replace(SQUARE, prologue=10)
    narrow = product(2**20, 4, depth=4)
    assert stretch(narrow, tiling, multiprocessors=4) == pytest.approx(16 * 14 / 4)
    assert stretch(narrow, replace(tiling, most=20), multiprocessors=4) == 20


def test_the_kernels_of_a_convolution_fill_columns():
    # many places, all in one wave's worth of work; 64 kernels fill a tile, 40 leave 24 of its columns empty
    full, partly = product(2**22, 64, depth=576), product(2**22, 40, depth=576)
    ratio = stretch(partly, CONVOLUTION, multiprocessors=4) / stretch(
        full, CONVOLUTION, multiprocessors=4
    )
    assert ratio == pytest.approx(64 / 40)
