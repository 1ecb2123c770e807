"""The probe, on a device that a test plays."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from weighbridge import devices, rooms
from weighbridge.cli import main
from weighbridge.devices.probing import Probe, Workspace
from weighbridge.errors import UsageError, WeighError
from weighbridge.reports import probe as probed

MIB = 2**20
WORKSPACE = 8_519_680

torch = pytest.importorskip("torch")


class Played:
    """A GPU that counts as one would: 300 MiB of context, 250 more with kernels, a workspace a thread.

    Others hold 100 MiB. Tensors are real and on the CPU; what a convolution takes beside them is 1 MiB.
    """

    device = "cpu"

    def __init__(self) -> None:
        self.workspaces = 0
        self.asked = 0

    def used(self) -> int:
        self.asked += 1
        return (100 + 300 + 20 + (250 if self.asked > 1 else 0)) * MIB

    def total(self) -> int:
        return 24 * 1024 * MIB

    def reserved(self) -> int:
        return 20 * MIB

    def allocated(self) -> int:
        return self.workspaces * WORKSPACE

    def peak(self) -> int:
        return self.allocated() + self.results + MIB

    def forget(self) -> None:
        pass


@pytest.fixture
def found(monkeypatch):
    from weighbridge.frontends.torch import probe

    bench = Played()

    def working(run):
        def also_takes_a_workspace(given):
            run(given)
            given.workspaces += 1

        return also_takes_a_workspace

    # 8 images of 3 channels of 8 x 8 become 4 channels: 8 * 4 * 8 * 8 * 4 bytes = 8,192. Their gradients are
    # 8 * 3 * 8 * 8 * 4 + 4 * 3 * 3 * 3 * 4 = 6,144 + 432.
    results = iter((8_192, 6_144 + 432))
    monkeypatch.setattr(Played, "results", property(lambda self: next(results)), raising=False)
    monkeypatch.setattr(probe, "CONVOLUTIONS", ((3, 4, 8, 3),))
    monkeypatch.setattr(probe, "_product", working(probe._product))
    monkeypatch.setattr(probe, "_backward", working(probe._backward))
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    return probe.measured(bench, devices.gpu("NVIDIA GeForce RTX 4090"), 100 * MIB)


def test_what_is_measured_is_beside_tensors_cache_and_others(found):
    assert found.context_bytes == 300 * MIB
    assert found.loaded_bytes == 550 * MIB
    assert found.cublas_bytes == found.autograd_cublas_bytes == WORKSPACE
    assert found.cudnn == (
        Workspace(what="convolution 3 x 3, 3 to 4 channels, 8 x 8, forward", bytes=MIB),
        Workspace(what="convolution 3 x 3, 3 to 4 channels, 8 x 8, backward", bytes=MIB),
    )


def test_the_options_are_those_that_weigh_takes(found):
    assert found.options == (
        "--on", "rtx-4090", "--context", "550MiB", "--alloc-conf", "expandable_segments:True",
    )  # fmt: skip
    result = CliRunner().invoke(main, ["lenet5", *found.options, "--json"], prog_name="weigh")
    assert result.exit_code == 0, result.output
    (placed,) = json.loads(result.output)["devices"]
    assert placed["outside_bytes"]["expected"] == 550 * MIB


def test_the_screen_has_the_card_beside_what_was_measured(found):
    screen = probed.render(found, width=None, color=False)
    assert "context, kernels loaded" in screen
    assert "550 MiB" in screen
    assert "8.12 MiB" in screen
    assert "664 MiB, up to 1017 MiB" in screen
    assert "others held 100 MiB of it before" in screen
    assert "--context 550MiB" in screen
    record = json.loads(probed.render_json(found))
    assert record["context_bytes"] == 300 * MIB
    assert record["options"] == list(found.options)


def test_an_unknown_gpu_and_a_machine_without_nvidia_smi_are_told():
    plain = Probe(
        device=devices.gpu("Mystery 9"), total_bytes=MIB, before_bytes=None, context_bytes=MIB, loaded_bytes=MIB + 1,
        cublas_bytes=0, autograd_cublas_bytes=0, cudnn=(), allocator="native", alloc_conf="",
        torch_version="2.14", cuda_version="",
    )  # fmt: skip
    screen = probed.render(plain, width=None, color=False)
    assert "could not be told: nvidia-smi is missing" in screen
    assert plain.options == ("--here", "--context", "2MiB")


def test_the_driver_says_what_is_held_already(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '117\\n9\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert devices.machine.used_by_driver() == 117 * MIB
    program.write_text("#!/bin/sh\nprintf '[N/A]'\n")
    assert devices.machine.used_by_driver() is None
    monkeypatch.setenv("PATH", "")
    assert devices.machine.used_by_driver() is None


def test_without_a_gpu_it_says_so_and_ends_with_1(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(main, ["probe"], prog_name="weigh")
    assert result.exit_code == 1
    assert "there is no GPU here that PyTorch can use, and nothing to probe" in result.output


def test_a_gpu_that_only_the_driver_sees_is_named(monkeypatch):
    from weighbridge.frontends.torch import probe

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(probe, "gpus_by_driver", lambda: (devices.gpu("Mystery 9"),))
    with pytest.raises(
        WeighError, match="the driver lists Mystery 9 here: is this PyTorch built for it"
    ):
        rooms.probe()


def test_without_pytorch_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(rooms, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="a probe runs kernels of PyTorch, which is not installed"):
        rooms.probe()


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        ("used", "synchronize"), ("total", "mem_get_info"), ("reserved", "memory_reserved"),
        ("allocated", "memory_allocated"), ("peak", "max_memory_allocated"), ("forget", "reset_peak_memory_stats"),
    ],
)  # fmt: skip
def test_the_bench_asks_pytorch(monkeypatch, call, asked):
    from weighbridge.frontends.torch.probe import CudaBench

    seen: list[str] = []
    for name in (
        "synchronize", "mem_get_info", "memory_reserved", "memory_allocated", "max_memory_allocated",
        "reset_peak_memory_stats",
    ):  # fmt: skip
        answer = (3, 8) if name == "mem_get_info" else 5
        monkeypatch.setattr(
            torch.cuda, name, lambda name=name, answer=answer: (seen.append(name), answer)[1]
        )
    result = getattr(CudaBench(), call)()
    assert asked in seen
    assert result == {"used": 5, "total": 8, "forget": None}.get(call, 5)
