"""Calibrating and measuring with PyTorch: what is timed, what is refused, what is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import weighbridge  # noqa: E402
from weighbridge.analyses.time.step import Untimed  # noqa: E402
from weighbridge.calibration import Setting, path, read  # noqa: E402
from weighbridge.cli import main  # noqa: E402
from weighbridge.errors import UsageError, WeighError  # noqa: E402
from weighbridge.frontends.torch import calibration, stopwatch  # noqa: E402
from weighbridge.frontends.torch.calibration import (  # noqa: E402
    calibrate,
    gpu_settings,
    kernel_of,
    other_settings,
    probes,
    whole_steps,
)
from weighbridge.frontends.torch.calibration.probes import PROCESSOR  # noqa: E402
from weighbridge.frontends.torch.catching import Caught  # noqa: E402
from weighbridge.frontends.torch.running import run  # noqa: E402
from weighbridge.frontends.torch.stopwatch import (  # noqa: E402
    CpuStopwatch,
    EventStopwatch,
    Sample,
    threads,
    typical,
)
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch

SHARE = 0.02
"""Of the sizes: two of each family."""


class Fake:
    """A clock that does not look: a millisecond a run, growing by `drift` with each."""

    name = "cpu"

    def __init__(self, drift: float = 0.0, interruptions: int = 0, waited_s: float = 0.0) -> None:
        self.runs = 0
        self.drift = drift
        self.interruptions = interruptions
        self.waited_s = waited_s

    def sample(self, work: Callable[[], object]) -> Sample:
        if self.runs < 5:
            work()
        self.runs += 1
        return Sample(
            seconds=1e-3 * (1 + self.drift * self.runs),
            interruptions=self.interruptions,
            waited_s=self.waited_s,
        )


@pytest.fixture
def few(monkeypatch):
    """A dozen of the smallest probes, on operands that do not take turns."""
    smallest = sorted(probes(SHARE), key=lambda probe: probe.elements)[:12]
    monkeypatch.setattr(calibration, "probes", lambda share, sizes=None: iter(smallest))
    monkeypatch.setattr(calibration, "COLD_BYTES", {"cpu": 0})
    monkeypatch.setattr(calibration, "SLAB", {"cpu": 100_000})
    return smallest


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path


# -- probes --------------------------------------------------------------------------------------


def test_every_probe_is_one_kernel_and_the_same_ones_each_time():
    first, second = list(probes(SHARE)), list(probes(SHARE))
    assert [probe.name for probe in first] == [probe.name for probe in second]
    found = {probe.name: kernel_of(probe) for probe in first}
    single = [name for name, kernel in found.items() if kernel is None]
    assert all(name.startswith("heads (1, 1,") for name in single)  # one token: nothing to copy
    kinds = {kernel[1].kind for kernel in found.values() if kernel is not None}
    assert kinds >= {
        "matmul", "batched matmul", "convolution 1x1", "convolution", "convolution stem",
        "depthwise convolution", "grouped convolution", "attention", "batch norm", "norm", "softmax",
        "activation", "elementwise", "copy", "gather", "reduction", "pooling", "resampling",
    }  # fmt: skip


def test_probes_run_as_they_are_described():
    # Of each family the smallest: the operands fit the operator.
    smallest: dict[str, calibration.Probe] = {}
    for probe in probes(SHARE):
        family = probe.name.partition(" ")[0]
        if probe.elements < smallest.get(family, probe).elements or family not in smallest:
            smallest[family] = probe
    with torch.no_grad():
        for probe in smallest.values():
            whole = dict(probe.whole)
            probe.run(
                *(
                    torch.zeros(shape, dtype=torch.int64 if place in whole else torch.float32)
                    for place, shape in enumerate(probe.shapes)
                )
            )


# -- calibrating ---------------------------------------------------------------------------------


def test_what_is_measured_is_what_the_clock_says(few):
    told: list[tuple[int, int, str]] = []
    found = calibrate(
        share=SHARE,
        watch=Fake(),
        progress=lambda done, total, what: told.append((done, total, what)),
    )
    assert {point.seconds for point in found.points} == {1e-3}
    assert found.repeatability == 0
    assert found.disturbed == 0
    assert found.conditions.torch == torch.__version__.partition("+")[0]
    done, total, _ = zip(*told, strict=True)
    assert done[-1] == total[-1]
    assert list(done) == sorted(done)


def test_a_gpu_is_timed_in_every_precision(monkeypatch):
    every: dict[str, calibration.Probe] = {}
    for probe in sorted(
        probes(SHARE, replace(PROCESSOR, gpu=True)), key=lambda each: each.elements
    ):
        name = probe.name.rpartition(")")[2] + probe.name.partition(" ")[0] + str(probe.backward)
        every.setdefault(name, probe)
    monkeypatch.setattr(calibration, "probes", lambda share, sizes=None: iter(every.values()))
    monkeypatch.setattr(calibration, "check_device", lambda device: None)
    monkeypatch.setattr(calibration, "COLD_BYTES", {"cpu": 0})
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    found = calibrate("cuda", others=tuple(gpu_settings()), watch=Fake())
    assert found.conditions.processor == "NVIDIA H100"
    base = found.base
    tf32, half = replace(base, dtype="tf32"), replace(base, dtype="float16")
    kinds = {(point.kernel.kind, point.kernel.part) for point in found.points}
    assert ("attention", "backward") in kinds
    assert {part for _, part in kinds} >= {"input gradient", "weight gradient"}
    for point in found.points:  # products alone may run in TF32; convolutions do already
        assert (tf32 in point.others) == (point.kernel.kind in ("matmul", "batched matmul"))
        assert half in point.others
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_machine_that_slows_down_is_refused_unless_forced(few):
    with pytest.raises(
        WeighError, match="too noisy to be measured: the same kernels were"
    ) as caught:
        calibrate(share=SHARE, watch=Fake(drift=1e-2))
    assert any("--force" in hint for hint in caught.value.hints)
    assert calibrate(share=SHARE, watch=Fake(drift=1e-2), force=True).repeatability > 0.15


def test_a_machine_that_others_use_is_refused(few):
    with pytest.raises(WeighError, match=r"took the processor away in 100\.0 % of the runs"):
        calibrate(share=SHARE, watch=Fake(interruptions=9))


def test_a_machine_that_others_use_is_refused_before_all_is_timed(few, monkeypatch):
    monkeypatch.setattr(calibration, "TRIED", 3)
    told: list[int] = []
    with pytest.raises(WeighError, match="too noisy to be measured: others took"):
        calibrate(
            share=SHARE,
            watch=Fake(waited_s=1e-3),
            progress=lambda done, total, what: told.append(done),
        )
    assert max(told) == 3


def test_a_probe_waits_for_runs_that_nobody_disturbs(monkeypatch):
    class Busy(Fake):
        def sample(self, work):
            found = super().sample(work)
            return replace(found, seconds=1.0, waited_s=1.0) if self.runs <= 8 else found

    monkeypatch.setattr(calibration, "SECONDS_A_PROBE", {"cpu": 0.0})
    probe = calibration.Probe(name="some", run=torch.relu, shapes=((4,),))
    whole = Setting(dtype="float32", threads=1)
    with threads():
        assert calibration._Bench(Busy(), 0.0).seconds(probe, whole) == 1e-3
        monkeypatch.setattr(calibration, "PATIENCE_S", 0.0)
        assert calibration._Bench(Busy(), 0.0).seconds(probe, whole) == 1.0


def test_a_thread_that_waits_for_a_processor_is_seen(tmp_path):
    for task, waited in (("7", 2_000_000), ("8", 1_000_000)):
        (tmp_path / task).mkdir()
        (tmp_path / task / "schedstat").write_text(f"5000000 {waited} 12\n")
    assert stopwatch._waited_s(tmp_path) == pytest.approx(3e-3)
    assert stopwatch._waited_s(tmp_path / "none") == 0.0
    assert Sample(seconds=1e-3, waited_s=40e-6).undisturbed
    assert not Sample(seconds=1e-3, waited_s=1e-3).undisturbed


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="PyTorch finds no 'mps' on this machine"):
        calibrate("mps")


def test_interrupted_it_leaves_the_old_calibration(folder, few, monkeypatch):
    monkeypatch.setattr(calibration, "stopwatch", lambda name: Fake())
    monkeypatch.setattr(calibration, "whole_steps", lambda *_, **__: ())
    monkeypatch.setattr(
        "weighbridge.measuring.Measured.settled", lambda self, steps: self.calibration.overheads
    )
    weighbridge.calibrate()
    old = path().read_bytes()

    def stop(done: int, total: int, what: str) -> None:
        if done > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weighbridge.calibrate(progress=stop)
    assert path().read_bytes() == old
    assert len(list(path().parent.iterdir())) == 1


def test_the_commands_say_what_this_machine_is_and_measure_it(folder, few, monkeypatch):
    before = CliRunner().invoke(main, ["here"], standalone_mode=False)
    assert "none; measure this machine: weigh calibrate" in before.output
    monkeypatch.setattr(calibration, "stopwatch", lambda name: Fake())
    monkeypatch.setattr(calibration, "whole_steps", lambda *_, **__: ())
    monkeypatch.setattr(
        "weighbridge.measuring.Measured.settled", lambda self, steps: self.calibration.overheads
    )
    done = CliRunner().invoke(main, ["calibrate", "--width", "300"], standalone_mode=False)
    assert "the same kernels again at the end: 0.0 % apart" in done.output
    assert str(folder) in done.output
    found = json.loads(CliRunner().invoke(main, ["here", "--json"], standalone_mode=False).output)
    assert found["calibration"]["stale"] == []
    kept = read(path())
    assert kept is not None
    assert found["calibration"]["kernels"] == len(kept.points)
    counts = {(each["dtype"], each["threads"]) for each in found["calibration"]["settings"]}
    assert counts >= {("float32", torch.get_num_threads()), ("float32", 1)}


def test_some_kernels_are_timed_in_other_settings_too(few):
    half = Setting(dtype="bfloat16", threads=1)
    before = torch.get_num_threads()
    found = calibrate(share=SHARE, others=(half,), watch=Fake())
    assert found.settings[1:] == (half,)
    assert {seconds for point in found.points for seconds in point.others.values()} == {1e-3}
    assert torch.get_num_threads() == before


def test_what_pytorch_has_no_kernel_for_is_left_out(few, monkeypatch):
    def lacking(x):
        if x.dtype == torch.bfloat16:
            raise RuntimeError('"cos" not implemented for BFloat16')
        return x

    probe = calibration.Probe(name="some", run=lacking, shapes=((4,),))
    watch = Fake()
    bench = calibration._Bench(watch, 0.0)
    whole, half = (Setting(dtype=dtype, threads=1) for dtype in ("float32", "bfloat16"))
    with threads():
        assert set(bench.others(probe, (whole, half))) == {whole}


def test_threads_are_of_the_processor():
    with pytest.raises(UsageError, match="threads are of the processor, and 'cuda' is measured"):
        weighbridge.calibrate("cuda", threads=(1,))
    with pytest.raises(UsageError, match="the number of threads has 0"):
        weighbridge.calibrate(threads=(0,))


def test_the_settings_beside_are_each_dtype_on_each_number_of_threads():
    with threads(2):
        found = tuple(other_settings((1, 2)))
    assert Setting(dtype="float32", threads=1) in found
    assert Setting(dtype="float32", threads=2) not in found  # the base
    half = {setting.threads for setting in found if setting.dtype == "bfloat16"}
    assert half in (set(), {1, 2})


def test_a_measurement_takes_as_many_threads_as_it_is_told():
    seen = []

    class Looking(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return x + 1

    before = torch.get_num_threads()
    weighbridge.measure(Looking(), (4,), threads=before + 1, memory=False)
    assert seen[-1] == before + 1
    assert torch.get_num_threads() == before


# -- stopwatches ---------------------------------------------------------------------------------


def test_the_typical_sample_is_of_those_that_nothing_came_between():
    clean = [Sample(seconds=seconds) for seconds in (1.0, 3.0, 2.0)]
    disturbed = [Sample(seconds=9.0, interruptions=9000) for _ in range(5)]
    assert typical([*disturbed, *clean]) == 2.0
    # none undisturbed: the lower quartile of all, 8 samples in order, the third
    every = [Sample(seconds=float(n), interruptions=9000) for n in range(8)]
    assert typical(every) == 2.0


def test_pages_are_counted_as_the_system_makes_them():
    # 64 MiB are beyond what glibc keeps: 16,384 pages of 4 KiB, at each run.
    sample = CpuStopwatch().sample(lambda: torch.empty(2**24).fill_(1))
    assert sample.seconds > 0
    assert sample.pages == 0 or sample.pages > 1000


def test_a_gpu_is_timed_by_its_own_events(monkeypatch):
    log: list[str] = []

    class Mark:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            log.append("record")

        def elapsed_time(self, end: object) -> float:
            return 12.0  # milliseconds

    class Device:
        Event = Mark

        @staticmethod
        def synchronize() -> None:
            log.append("synchronize")

    monkeypatch.setitem(vars(torch), "fake", Device)
    sample = EventStopwatch("fake").sample(lambda: log.append("work"))
    assert sample.seconds == 12e-3
    assert log == ["synchronize", "record", "work", "record", "synchronize"]


# -- measuring -----------------------------------------------------------------------------------


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@pytest.mark.parametrize("train", [None, "sgd"])
def test_a_measured_step_stands_beside_its_prediction(train, folder):
    report = weighbridge.measure(Tiny(), (3, 8, 8), batch=2, train=train)
    assert report.measured.steps >= 5
    assert report.measured.low_s <= report.measured.high_s
    # weights 8*3*3*3 + 8 + 288*10 + 10 = 3114 float32 are among what the allocator holds
    assert report.measured.peak_bytes is not None
    assert report.measured.peak_bytes >= 4 * 3114
    assert report.predicted_bytes >= 4 * 3114
    assert isinstance(report.predicted, Untimed)  # nobody calibrated the machine
    assert "measure this machine: weigh calibrate" in str(report)
    assert report.to_dict()["measured"]["steps"] == report.measured.steps


def test_measuring_leaves_the_module_as_it_was(folder):
    model = Tiny().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weighbridge.measure(model, (3, 8, 8), train="adamw", memory=False)
    assert not model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.slow
def test_small_networks_are_run_whole(monkeypatch):
    monkeypatch.setattr(calibration, "SECONDS_A_CHAIN", 0.0)
    steps = whole_steps(share=0.1, watch=Fake())
    assert len(steps) == 12  # six chains at a batch each, both modes
    assert {round(seconds, 6) for _, seconds in steps} == {1e-3}


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("100 -> (fc)10", {}, "is described, and PyTorch has nothing to run"),
        ("alexnet-one-tower", {}, "no network is called"),
        ("resnet18", {"backend": "cuda"}, "a measurement on .cpu. runs its kernels"),
        ("resnet18", {"train": "sgd", "checkpointing": "blocks"}, "checkpointing is a what-if"),
    ],
)
def test_what_cannot_be_run_is_refused(model, settings, message):
    with pytest.raises(UsageError, match=message):
        weighbridge.measure(model, **settings)


def test_a_program_cannot_be_run():
    program = weighbridge.weigh("lenet5").program
    with pytest.raises(UsageError, match="a Program is a description"):
        weighbridge.measure(program)


def test_without_torch_it_is_said(monkeypatch):
    monkeypatch.setattr("weighbridge.measuring.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="runs kernels of PyTorch, which is not installed"):
        weighbridge.measure("resnet18")
    with pytest.raises(UsageError, match="runs kernels of PyTorch, which is not installed"):
        weighbridge.calibrate()


def test_a_training_step_needs_an_optimizer():
    caught = Caught(
        model=Tiny(),
        workload=Workload(mode="training", inputs=(InputSpec(shape=(3, 8, 8)),), backend="cpu"),
        network="tiny",
        examples=None,
    )
    with pytest.raises(UsageError, match="a training step without an optimizer is not run"):
        run(caught, watch=Fake())


def test_an_optimizer_that_pytorch_lacks_is_said(folder):
    with pytest.raises(UsageError, match="PyTorch has no optimizer 'lion'"):
        weighbridge.measure(Tiny(), (3, 8, 8), train="lion")


def test_the_command_measures(folder, tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(48, 4))\n"
    )
    source = f"{tmp_path / 'net.py'}:make"
    done = CliRunner().invoke(
        main,
        ["measure", source, "--input", "3,4,4", "--json", "--no-memory"],
        standalone_mode=False,
    )
    found = json.loads(done.output)
    assert found["measured"]["seconds"] > 0
    assert found["measured"]["peak_bytes"] is None
