"""Rows: how often norms and softmaxes read theirs from memory."""

import pytest

from weighbridge.analyses.time.rows import rows_of
from weighbridge.devices import load
from weighbridge.ops.kernel import Kernel

A100, V100 = load("a100-40gb-pcie"), load("v100-32gb-pcie")


def kernel(kind, elements, part="forward"):
    return Kernel(kind=kind, part=part, read_bytes=1, row_bytes=4 * elements)


def reads(kernel, device):
    rows = rows_of(kernel.kind, kernel.part, device)
    return 1 if rows is None else rows.reads(kernel.row_bytes)


def test_a_norm_finds_its_rows_in_the_cache_while_they_fit():
    # 108 multiprocessors, 2048 / 128 = 16 rows each of 4 KiB: 6.75 MiB of 40
    assert reads(kernel("norm", 1024), A100) == 1
    # of 64 KiB: 108 MiB
    assert reads(kernel("norm", 16384), A100) == 2
    # 80 multiprocessors, 16 rows of 3 KiB: 3.75 MiB of 6, 0.625: of 0.3 to 1 that is 0.325 / 0.7 not found again
    assert reads(kernel("norm", 768), V100) == pytest.approx(1 + 0.325 / 0.7)


def test_a_softmax_of_few_elements_stays_in_registers():
    assert reads(kernel("softmax", 1024), V100) == 1
    # 8192 elements: 512 threads, 4 rows of 32 KiB: 128 KiB of a V100's 128, and 80 times that of 6 MiB: nothing is kept
    assert reads(kernel("softmax", 8192), V100) == 3
    # of an A100's 192 KiB they are 0.667, of its 40 MiB 13.5 / 40 = 0.3375: the L2 keeps (1 - 0.3375) / 0.7
    assert reads(kernel("softmax", 8192), A100) == pytest.approx(1 + 2 * (1 - 0.6625 / 0.7))
    # 2048 elements: 256 threads, 8 rows of 8 KiB: 64 KiB, half of the V100's own cache, keep 0.5 / 0.7
    assert reads(kernel("softmax", 2048), V100) == pytest.approx(1 + 2 * (1 - 0.5 / 0.7))
    # Pascal's own cache is not used: 56 * 8 rows of 8 KiB are 3.5 MiB of the L2's 4
    assert reads(kernel("softmax", 2048), load("p100")) == pytest.approx(1 + 2 * (1 - 0.125 / 0.7))


def test_backward_passes_and_everything_else():
    assert reads(kernel("norm", 16384, "backward"), A100) == 3
    assert reads(kernel("softmax", 65536, "backward"), V100) == 2
    assert reads(kernel("elementwise", 16384), A100) == 1
    assert reads(kernel("norm", 0), A100) == 1
    assert reads(kernel("norm", 16384), load("epyc-7763")) == 1


def test_a_batch_norm_that_trains_reads_its_images_twice():
    # first for the statistics, then for the result; with running statistics once
    assert reads(kernel("batch norm", 16384), A100) == 2
    assert reads(kernel("batch norm", 16384, "backward"), A100) == 2
    assert reads(Kernel(kind="batch norm", read_bytes=1), A100) == 1
