"""Published times of operators as kernels, and what is fitted to them, on rows worked out by hand."""

import pytest
import torch
from benchmarks.fitting.neusight import Timed, fit, timed
from benchmarks.fitting.operators import LATENCY, Sample, neusight, neusight_kernel, product
from benchmarks.truth.neusight import Experts, hidden

from weighbridge.devices import load, measured
from weighbridge.ops.kernel import Gemm


def test_a_row_of_neusight_as_a_kernel():
    # linear: 512 rows of 768 numbers, 3072 columns, though the file calls the depth N and the columns K
    kernel = neusight_kernel("linear", {"B": "1", "M": "512", "N": "768", "K": "3072"})
    assert kernel.gemm == Gemm(batch=1, rows=512, columns=3072, depth=768)
    assert kernel.macs == 512 * 768 * 3072
    assert kernel.traffic_bytes == 4 * (512 * 768 + 768 * 3072 + 512 * 3072)
    # softmax: 8 rows of 1024, read and written once, 4 KiB a row
    kernel = neusight_kernel("softmax", {"B": "8", "H": "1024"})
    assert (kernel.kind, kernel.row_bytes, kernel.traffic_bytes) == ("softmax", 4096, 65536)
    # a sum of two vectors reads both, a sum with a number one
    assert neusight_kernel("add", {"B": "8", "H": "1024"}).traffic_bytes == 3 * 32768
    assert neusight_kernel("addu", {"B": "8", "H": "1024"}).traffic_bytes == 2 * 32768


@pytest.mark.skipif(not LATENCY.exists(), reason="the shared data are not here")
def test_the_tables_are_read_whole():
    # SOURCES.md's rows: 6174 + 8497 + 452 + 452 + 4800, of which norms and softmaxes are in the last once more
    rows = tuple(neusight())
    assert len(rows) == 6174 + 8497 + 452 + 452 + 4800 - 2 * 452
    assert {row.card for row in rows} == {
        "p4", "p100", "v100-32gb-pcie", "t4", "a100-40gb-pcie", "l4",
    }  # fmt: skip


def test_a_share_is_found_again():
    # two copies of 75 MB at 0.8 of a T4's 320 GB/s, and products at 1.1 times what the rule says
    copies = [neusight_kernel("relu", {"B": str(rows), "H": "1024"}) for rows in (8192, 9216)]
    products = [product("matmul", 1, rows, 4096, 4096, itemsize=4) for rows in (4096, 8192)]
    at_peak = timed(
        Sample(card="t4", operator="", kernel=kernel, seconds=1.0)
        for kernel in (*copies, *products)
    )
    rows = [
        Timed(
            sample=Sample(
                card="t4",
                operator="",
                kernel=row.sample.kernel,
                seconds=row.predicted(1.1, 0.8),
            ),
            compute_s=row.compute_s,
            memory_s=row.memory_s,
        )
        for row in at_peak
    ]
    found = fit(rows)
    assert found.of("elementwise", "forward").bandwidth == pytest.approx(0.8)
    assert found.of("matmul", "forward").compute == pytest.approx(1.1)


def test_a_hidden_device_is_predicted_without_its_own_times():
    found = hidden(load("t4"), measured())
    assert found.basis.startswith("scaled from")
    assert found.of("norm", "forward") != measured()["t4"].of("norm", "forward")


def test_experts_run_one_after_the_other_on_their_rows():
    calls = []

    class Expert(torch.nn.Module):
        def forward(self, x):
            calls.append(x.shape)
            return x

    layer = Experts(torch.nn.ModuleDict({"a": Expert(), "b": Expert()}), rows=3)
    states = torch.ones(10, 4)
    assert layer(states, torch.ones(10, 1, 2), torch.full((10, 1), 2.0)).shape == (10, 4)
    assert calls == [(3, 4), (3, 4)]
