"""The fit to whole networks: kernels at any batch, shares found again, and a slice of the published times."""

import pytest

pytest.importorskip("benchmarks.fitting", reason="run from the checkout: python -m pytest")
pytest.importorskip("numpy")

import numpy as np
from benchmarks.fitting.growth import step_of
from benchmarks.fitting.kernel_shares import Table, fit, shares
from benchmarks.fitting.throughputs import FILES, PUBLISHED, rows

from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.execution import launches
from weighbridge.devices import efficiencies, load
from weighbridge.workload import InputSpec, Workload


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
def test_kernels_grow_with_the_batch_as_a_trace_does(mode, layout):
    torch = pytest.importorskip("torch")
    from torch import nn

    from weighbridge.frontends.torch import trace
    from weighbridge.ops.optimizers import optimizer

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
            self.groups = nn.Conv2d(8, 8, 3, groups=2, stride=2)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.norm = nn.LayerNorm(8)
            self.scale = nn.Parameter(torch.ones(8))
            self.head = nn.Linear(8, 10)

        def forward(self, x):
            x = self.groups(self.stem(x)).flatten(2).transpose(1, 2)
            x = x + self.attention(x, x, x, need_weights=False)[0]
            return self.head((self.norm(x) * self.scale).mean(1))

    def program(batch):
        workload = Workload(
            mode=mode,
            batch=batch,
            inputs=(InputSpec(shape=(3, 16, 16)),),
            precision="amp-bf16",
            optimizer=optimizer("sgd", momentum=0.9) if mode == "training" else None,
            layout=layout,
        )
        return trace(Network(), workload, network="n", source="n", frontend="torch")

    def sizes(kernel):
        return (
            kernel.macs, kernel.operations, kernel.read_bytes, kernel.write_bytes, kernel.image_bytes, kernel.launches,
            0 if kernel.gemm is None else kernel.gemm.macs,
        )  # fmt: skip

    step = step_of(program(4))
    grown = [piece.at(3) for piece in step.pieces for _ in range(piece.times)]
    traced = [launch.kernel for launch in launches(program(12))]

    def by_class(kernels):
        found = {}
        for kernel in kernels:
            key = (kernel.kind, kernel.part, kernel.channels_last)
            found[key] = np.add(found.get(key, 0), sizes(kernel))
        return found

    found, expected = by_class(grown), by_class(traced)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        # what is done once a channel, and statistics of a batch, do not grow: of these small layers 3 % or a KiB
        assert found[key] == pytest.approx(values, rel=0.03, abs=1024), key


def test_a_fit_finds_the_shares_that_times_were_made_with():
    # two classes, 60 rows of a kernel each in other proportions; times made with 0.5 of the rate of one, 0.8 of the
    # bandwidth of the other, and nothing to launch
    random = np.random.default_rng(0)
    count = 60
    compute = np.stack([random.uniform(1, 9, count), np.full(count, 1e-9)], 1)
    memory = np.stack([np.full(count, 1e-9), random.uniform(1, 9, count)], 1)
    made = Table(
        seconds=compute[:, 0] / 0.5 + memory[:, 1] / 0.8,
        row=np.repeat(np.arange(count), 2),
        kind=np.tile([0, 1], count),
        times=np.ones(2 * count),
        compute=compute.ravel(),
        memory=memory.ravel(),
        launches=np.zeros(2 * count),
        there=np.zeros(2 * count),
        size=compute.ravel(),
        waiting=np.zeros(2 * count),
        classes=(("matmul", "forward"), ("copy", "forward")),
    )
    found = np.exp(fit(made, np.ones(count, dtype=bool)))
    assert found[0] == pytest.approx(0.5, rel=0.01)
    assert found[3] == pytest.approx(0.8, rel=0.01)


def test_a_row_with_larger_kernels_than_were_fitted_lies_outside():
    # two rows that were fitted, of a kernel of size 4 or 6 and a copy of size 1, 1 s and 3 s; of the third row the first kernel
    # is of size 9 and takes 2 of 5 s, of the fourth the copy is of size 0.5, 3 of 4 s
    made = Table(
        seconds=np.array([4.0, 4.0, 5.0, 4.0]),
        row=np.repeat(np.arange(4), 2),
        kind=np.tile([0, 1], 4),
        times=np.ones(8),
        compute=np.array([1.0, 0, 1, 0, 2, 0, 1, 0]),
        memory=np.array([0.0, 3, 0, 3, 0, 3, 0, 3]),
        launches=np.zeros(8),
        there=np.zeros(8),
        size=np.array([4.0, 1, 6, 1, 9, 1, 5, 0.5]),
        waiting=np.zeros(8),
        classes=(("matmul", "forward"), ("copy", "forward")),
    )
    values = np.log([1.0, 1.0, 1.0, 1.0, 1e-9, 1e3, 1e-9])
    chosen = np.array([True, True, False, False])
    assert made.sizes(values, chosen).tolist() == [[4, 6], [1, 1]]
    assert made.outside(values, chosen) == pytest.approx([0, 0, 0.4, 0.75], abs=1e-3)
    found = shares(made, values, chosen)["matmul", "forward"]
    assert (found.least, found.most) == (4, 6)


def test_derivatives_are_those_of_the_prediction():
    made = Table(
        seconds=np.array([3.0, 5.0]),
        row=np.array([0, 0, 1]),
        kind=np.array([0, 1, 0]),
        times=np.array([1.0, 2.0, 1.0]),
        compute=np.array([1.0, 0.5, 3.0]),
        memory=np.array([0.7, 0.9, 0.1]),
        launches=np.array([1.0, 1.0, 2.0]),
        there=np.array([0.3, 0.0, 0.9]),
        size=np.array([1.0, 2.0, 3.0]),
        waiting=np.array([0.0, 0.2, 0.0]),
        classes=(("matmul", "forward"), ("copy", "forward")),
    )
    values = np.log([0.5, 0.4, 0.8, 0.9, 0.1, 2.0, 0.6])
    predicted, slopes = made.derivatives(values)
    for place in range(len(values)):
        moved = values.copy()
        moved[place] += 1e-6
        assert slopes[:, place] == pytest.approx(
            (made.predicted(moved) - predicted) / 1e-6, rel=1e-3, abs=1e-6
        )


@pytest.mark.torch
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published times are not here")
@pytest.mark.parametrize("file", FILES[:2], ids=lambda file: file.name)
def test_a_slice_of_the_published_times(file, monkeypatch, tmp_path):
    pytest.importorskip("timm")
    monkeypatch.setattr("benchmarks.fitting.throughputs.CACHE", tmp_path)
    device = load(file.device)
    clock = Clock(device=device, efficiencies=efficiencies(device))
    off = []
    for row in rows(file, every=181):
        assert row.step is not None
        kernels = [(piece.times, piece.at(row.batch / row.step.batch)) for piece in row.step.pieces]
        seconds = sum(times * clock.time(kernel).seconds for times, kernel in kernels)
        off.append(abs(seconds / row.seconds - 1))
    assert len(off) >= 7
    assert sorted(off)[len(off) // 2] < 0.1
