"""A step on a device: what it takes there, whether it fits, and which devices there are."""

from __future__ import annotations

import json
import types

import pytest
from click.testing import CliRunner

import weighbridge
from weighbridge import devices
from weighbridge.analyses.memory.resident import KERNELS, PROCESS_BYTES, fits, live_bytes, resident
from weighbridge.analyses.memory.timeline import START, Lifetime
from weighbridge.cli import main
from weighbridge.devices import Device, Range
from weighbridge.errors import UsageError
from weighbridge.reports.json import schema
from weighbridge.rooms import backend, here, rooms

MIB = 2**20
NETWORK = "4 -> (fc)8 -> (ReLU) -> (fc)3"


def weights(size: int) -> list[Lifetime]:
    """A loop that holds one parameter and nothing else."""
    return [
        Lifetime(
            storage=0, bytes=size, birth=START, first=START, death=None, category="parameter",
            scope="", maker="w", shape=(size,), dtype="uint8",
        )
    ]  # fmt: skip


def card(capacity: int | None, *, context: int = 0) -> Device:
    taken = Range(low=context, typical=context, high=context)
    return Device(
        name="card", key="card", backend="cuda", memory_bytes=capacity, context_bytes=taken
    )


# -- what it takes -------------------------------------------------------------------------------


def test_reserved_is_segments_and_allocated_is_blocks():
    # Each of the tiny network's tensors is a block of 512 bytes, and 13 of them live at once: when fc2's bias
    # gets its gradient there are 4 parameters, the input, relu1's and fc2's results, the gradients of these
    # two, the gradients of fc2's weight and bias, the loss and its own gradient. The 13 blocks lie in one small segment of 2 MiB.
    # cuBLAS's two workspaces of 8,519,680 bytes share a large segment of 20 MiB.
    device = Device(
        name="card", backend="cuda", memory_bytes=2**30, cublas_workspace_bytes=8_519_680
    )
    report = weighbridge.weigh(NETWORK, batch=2, train="sgd", loss="mean")
    found = report.fits(device, context=1000)
    assert found.allocated.expected == 13 * 512 + 2 * 8_519_680
    assert found.reserved.expected == 22 * MIB
    assert found.total.expected == 22 * MIB + 1000
    assert found.unused_share == 1 - found.allocated.expected / (22 * MIB)


def test_inference_has_one_handle_of_cublas():
    # Parameters 4, input, fc1's and relu1's results, and fc2's of the step before: 8 blocks.
    device = Device(
        name="card", backend="cuda", memory_bytes=2**30, cublas_workspace_bytes=8_519_680
    )
    found = weighbridge.weigh(NETWORK, batch=2).fits(device, context=0)
    assert found.allocated.expected == 8 * 512 + 8_519_680


def test_on_a_cpu_there_is_the_process_and_no_cache():
    report = weighbridge.weigh(NETWORK, batch=2, train="sgd", loss="mean")
    found = resident(report.memory.lifetimes, devices.parse("cpu:8GiB"))
    assert found.allocated.expected == found.reserved.expected == report.memory.peak_bytes == 664
    assert found.outside.expected == PROCESS_BYTES[1]
    assert found.total.expected == 664 + PROCESS_BYTES[1]
    assert not found.cached
    assert found.answer == "fits"


@pytest.mark.parametrize(
    ("capacity", "answer"),
    [
        # 100 MiB and 9 % more are 109 MiB, in segments of 2 MiB: 110. And 4 % less are 96.
        (110 * MIB, "fits"),
        (110 * MIB - 1, "too close to call"),
        (96 * MIB, "too close to call"),
        (96 * MIB - 1, "does not fit"),
    ],
)
def test_there_are_three_answers(capacity, answer):
    assert KERNELS == (0.04, 0.09)
    found = resident(weights(100 * MIB), card(capacity))
    assert found.answer == answer
    assert bool(found) is (answer == "fits") is fits(weights(100 * MIB), card(capacity))


def test_the_context_is_taken_from_the_capacity():
    assert resident(weights(100 * MIB), card(210 * MIB, context=100 * MIB)).answer == "fits"
    assert resident(weights(100 * MIB), card(200 * MIB, context=105 * MIB)).answer == "does not fit"


def test_what_does_not_fit_says_what_pytorch_would():
    found = resident(weights(100 * MIB), card(50 * MIB))
    assert found.out_of_memory is not None
    assert "Tried to allocate 100.00 MiB" in found.out_of_memory.message


def test_without_a_capacity_there_is_no_answer():
    found = resident(weights(MIB), devices.parse("cpu"))
    assert found.answer is None
    assert not found


def test_live_bytes_are_the_peak_of_a_later_round():
    memory = weighbridge.weigh("resnet18", batch=2, train="adam").memory
    assert live_bytes(memory.lifetimes) == memory.later.peak.bytes


# -- which devices -------------------------------------------------------------------------------


def test_devices_are_named_with_commas_or_in_a_sequence():
    named = [room.device.key for room in rooms("rtx-4090, a100-80gb")]
    assert named == [room.device.key for room in rooms(["rtx-4090", devices.load("a100-80gb")])]


def test_a_size_is_a_gpu_of_which_nothing_else_is_known():
    (room,) = rooms("24GiB")
    found = room.resident(weights(MIB))
    assert found.cached
    assert found.outside.low < found.outside.expected < found.outside.high


@pytest.mark.parametrize(
    ("name", "kernels"),
    [("rtx-4090", "cuda"), ("24GiB", "cuda"), ("cpu:8GiB", "cpu"), ("epyc-7763", "cpu")],
)
def test_the_backend_is_the_devices(name, kernels):
    (room,) = rooms(name)
    assert backend(room.device) == kernels


def test_settings_reach_the_allocator_of_those_that_have_one():
    gpu, cpu = rooms("24GiB,cpu:8GiB", alloc_conf="expandable_segments:True")
    assert gpu.settings is not None
    assert gpu.settings.expandable_segments
    assert cpu.settings is None


def test_a_context_is_a_size_or_bytes():
    for context in ("1GiB", 2**30):
        (room,) = rooms("rtx-4090", context=context)
        assert room.resident(weights(MIB)).outside.expected == 2**30


@pytest.mark.parametrize(
    ("on", "more", "message"),
    [
        ("rtx-4091", {}, "no device is called 'rtx-4091'\n  nearest: rtx-4090"),
        (",", {}, "no device was named"),
        ("24GB B", {}, "no device is called"),
        ("cpu:many", {}, "'many' is no size of memory"),
        ("24GiB", {"context": "much"}, "'much' is no size of memory"),
        ("24GiB", {"context": -1}, "a context of -1 bytes"),
        (
            "cpu:8GiB",
            {"alloc_conf": "expandable_segments:True"},
            "CPU, 8.00 GiB has no such allocator",
        ),
        ("24GiB", {"alloc_conf": "expandable_segments"}, "expandable_segments"),
        ("24GiB", {"alloc_conf": "expandible_segments:True"}, "did you mean 'expandable_segments'"),
        (
            "24GiB",
            {"alloc_conf": "max_split_size_mb:two"},
            "max_split_size_mb:two: expected whole MiB",
        ),
    ],
)
def test_what_no_device_is_or_has_is_refused(on, more, message):
    with pytest.raises(UsageError, match=message):
        rooms(on, **more)


def test_a_verdict_needs_a_capacity_and_one_device():
    report = weighbridge.weigh("lenet5")
    with pytest.raises(UsageError, match="how much memory EPYC 7763 has is its buyer's choice"):
        report.fits("epyc-7763")
    with pytest.raises(UsageError, match="2 devices are named, and one is asked about"):
        report.fits("rtx-4090,a100-80gb")


# -- this machine --------------------------------------------------------------------------------


def machine(root, *, total: int, free: int, files: dict[str, str]) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal: {total // 1024} kB\nMemAvailable: {free // 1024} kB\n"
    )
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_here_is_what_the_machine_has_and_what_is_free(tmp_path):
    machine(tmp_path, total=8192 * MIB, free=6144 * MIB, files={})
    found = devices.here(tmp_path)
    assert (found.memory_bytes, found.capacity_bytes) == (8192 * MIB, 6144 * MIB)
    assert found.name == "this machine's memory, 6.00 GiB of 8.00 GiB free"
    assert backend(found) == "cpu"


def test_here_heeds_the_limits_of_control_groups_of_version_2(tmp_path):
    # A group inside a group: the outer one has the limit. 1 GiB of it is used, of which 256 MiB is a cache of files.
    outer = "sys/fs/cgroup/jobs"
    files = {
        "proc/self/cgroup": "0::/jobs/mine\n",
        f"{outer}/memory.max": f"{4096 * MIB}\n",
        f"{outer}/memory.current": f"{1024 * MIB}\n",
        f"{outer}/memory.stat": f"anon 1\ninactive_file {256 * MIB}\n",
        f"{outer}/mine/memory.max": "max\n",
    }
    machine(tmp_path, total=8192 * MIB, free=6144 * MIB, files=files)
    found = devices.here(tmp_path)
    assert (found.memory_bytes, found.capacity_bytes) == (4096 * MIB, (4096 - 768) * MIB)


def test_here_heeds_the_limits_of_control_groups_of_version_1(tmp_path):
    files = {
        "proc/self/cgroup": "8:pids:/\n4:cpu,memory:/box\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{2048 * MIB}\n",
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": f"{512 * MIB}\n",
    }
    machine(tmp_path, total=8192 * MIB, free=1024 * MIB, files=files)
    found = devices.here(tmp_path)
    assert (found.memory_bytes, found.capacity_bytes) == (2048 * MIB, 1024 * MIB)


def test_where_no_memory_is_told_the_user_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: (_ for _ in ()).throw(ValueError(name)))
    with pytest.raises(UsageError, match="does not say how much memory it has"):
        devices.here(tmp_path)


def listed(monkeypatch, tmp_path, script: str) -> tuple[Device, ...]:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    return devices.gpus_by_driver()


def test_the_driver_lists_gpus_whose_cards_are_known(monkeypatch, tmp_path):
    text = "NVIDIA GeForce RTX 4090, 24564, 8.9\nNVIDIA Mystery 9, 8192, 12.3\nfailed"
    known, unknown = listed(monkeypatch, tmp_path, f"printf '{text}'".replace("\n", "\\n"))
    assert (known.name, known.key, known.driver_memory_bytes) == (
        "RTX 4090 here",
        "rtx-4090",
        24564 * MIB,
    )
    assert known.context_bytes == devices.load("rtx-4090").context_bytes
    assert (unknown.name, unknown.capacity_bytes) == ("NVIDIA Mystery 9 here", 8192 * MIB)
    assert unknown.compute_capability == (12, 3)


def test_a_driver_that_fails_lists_nothing(monkeypatch, tmp_path):
    assert listed(monkeypatch, tmp_path, "echo no devices were found; exit 6") == ()
    monkeypatch.setenv("PATH", "")
    assert devices.gpus_by_driver() == ()


@pytest.mark.torch
def test_pytorch_says_what_memory_a_gpu_offers(monkeypatch):
    torch = pytest.importorskip("torch")
    seen = types.SimpleNamespace(
        name="NVIDIA GeForce RTX 4090", total_memory=24000 * MIB, major=8, minor=9
    )
    monkeypatch.setattr(devices, "may_have_gpus", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: seen)
    gpu, ram = here()
    assert (gpu.key, gpu.capacity_bytes, backend(gpu)) == ("rtx-4090", 24000 * MIB, "cuda")
    assert ram.key == "here"


# -- screens -------------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    wide = {"COLUMNS": "200"}
    result = CliRunner().invoke(main, list(arguments), env=wide, prog_name="weigh")
    assert result.exit_code == 0, result.output
    return result.output


def test_the_first_screen_says_the_verdict():
    screen = run("lenet5", "--batch", "8", "--train", "sgd", "--on", "rtx-4090", "--depth", "1")
    line = next(line for line in screen.splitlines() if "fits RTX 4090 (23.6 GiB)" in line)
    assert "peak ~" in line
    assert "between" in line
    assert "largest batch" in line
    assert "max_memory_allocated" in screen
    assert "nvidia-smi" in screen
    assert "basis: tensors -4% to +9%" in screen


def test_a_verdict_a_device_and_json_of_each():
    record = json.loads(run("lenet5", "--on", "rtx-4090,a100-80gb", "--json"))
    one, other = record["devices"]
    assert (one["device"]["key"], other["device"]["key"]) == ("rtx-4090", "a100-80gb")
    assert one["answer"] == "fits"
    assert one["total_bytes"]["low"] < one["total_bytes"]["expected"] < one["total_bytes"]["high"]
    assert one["largest_batch"]["size"] < other["largest_batch"]["size"]
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validators.Draft202012Validator(schema()).validate(record)


@pytest.mark.parametrize("verb", [(), ("memory",), ("fit",)])
@pytest.mark.parametrize("suffix", [".md", ".html", ".tex", ".txt"])
def test_a_file_has_the_verdict_with_its_interval_and_its_basis(tmp_path, verb, suffix):
    path = tmp_path / f"told{suffix}"
    run(*verb, "lenet5", "--train", "sgd", "--on", "24GiB", "-o", str(path))
    told = " ".join(path.read_text(encoding="utf-8").replace("\\", "").split())
    assert "fits 24.0 GiB" in told
    assert "between" in told
    assert "basis: tensors -" in told


def test_expandable_segments_reserve_no_more():
    plain, expandable = (
        json.loads(
            run("resnet18", "--batch", "8", "--train", "sgd", "--on", "8GiB", "--json", *more)
        )
        for more in ((), ("--alloc-conf", "expandable_segments:True"))
    )
    one, other = (
        record["devices"][0]["reserved_bytes"]["expected"] for record in (plain, expandable)
    )
    assert other <= one


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--on", "rtx-4091"), "nearest: rtx-4090"),
        (("--on", "rtx-4090", "--alloc-conf", "nonsense"), "nonsense"),
        (("--on", "rtx-4090", "--batch", "0"), "the batch has 0, and a size is at least 1"),
        (("--on", "rtx-4090", "--context", "big"), "'big' is no size of memory"),
    ],
)
def test_the_command_refuses_in_one_message(arguments, message):
    result = CliRunner().invoke(main, ["lenet5", *arguments], prog_name="weigh")
    assert result.exit_code == 2
    assert message in result.output
