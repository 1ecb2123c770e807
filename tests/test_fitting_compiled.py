"""Shares fitted to times of whole steps: made from numbers that are known, found again."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.fitting.compiled import FILES, TIMM, _kernel, _records, fit, perfect, traced
from benchmarks.fitting.shares import Steps, Term
from benchmarks.fitting.split import held_out
from benchmarks.fitting.writing import text

from weighbridge.devices import Efficiencies, Efficiency, load
from weighbridge.devices.measured import fitted


def steps(numbers, *, overlaps):
    """Forty steps of a kernel that computes and moves, and one that only moves; times from `numbers`."""
    random = np.random.default_rng(0)
    compute, memory, other = random.uniform(1, 10, (3, 40))
    both = np.maximum if overlaps else np.add
    seconds = both(compute * numbers[0], memory * numbers[1]) + other * numbers[1] + 2 * numbers[2]
    at = np.arange(0, 80, 2)
    terms = [
        Term(name="c", side="compute", kernels=at, values=compute, usual=1.0, spread=50.0),
        Term(
            name="m",
            side="memory",
            kernels=np.arange(80),
            values=np.stack([memory, other], 1).ravel(),
            usual=1.0,
            spread=50.0,
        ),
        Term(name="l", side="beside", kernels=np.arange(80), values=np.ones(80), usual=1.0, spread=50.0),
    ]  # fmt: skip
    return Steps(
        step=np.repeat(np.arange(40), 2),
        seconds=seconds,
        terms=terms,
        overlaps=overlaps,
        kind=np.tile([0, 1], 40),
        size=np.stack([compute, other], 1).ravel(),
        kinds=2,
    )


@pytest.mark.parametrize("overlaps", [True, False])
def test_numbers_are_found_again(overlaps):
    numbers = (2.0, 3.0, 0.5)
    made = steps(numbers, overlaps=overlaps)
    found = made.fit(np.ones(40, dtype=bool))
    assert np.exp(found) == pytest.approx(numbers, rel=1e-2)
    assert made.predicted(found) == pytest.approx(made.seconds, rel=1e-2)


def test_steps_of_other_sizes_than_were_fitted_lie_outside():
    # the last step's second kernel is larger than the others': of its seconds only the first's lie within
    made = replace(steps((2.0, 3.0, 0.0), overlaps=False), size=np.tile([5.0, 7.0], 40))
    made.size[-1] = 8
    used = np.arange(40) < 39
    logs = np.log([2.0, 3.0, 1e-12])
    outside = made.outside(logs, used)
    compute, memory, other = (
        term[-1]
        for term in (made.terms[0].values, made.terms[1].values[::2], made.terms[1].values[1::2])
    )
    assert outside[-1] == pytest.approx(3 * other / (2 * compute + 3 * memory + 3 * other))
    assert not outside[:-1].any()
    assert made.sizes(logs, used).tolist() == [[5, 5], [7, 7]]


def test_what_tells_nothing_stays_as_is_usual():
    made = steps((2.0, 3.0, 0.5), overlaps=True)
    nothing = Term(name="n", side="beside", kernels=np.array([0]), values=np.zeros(1), usual=7.0)
    found = replace(made, terms=[*made.terms, nothing]).fit(np.ones(40, dtype=bool))
    assert np.exp(found[-1]) == pytest.approx(7.0)


def test_kernels_are_kept_as_they_were():
    found = traced(FILES[1], "resnet18", 64, 1)
    assert dict(_kernel(record) for record in _records(found)) == dict(found)
    # 21 that inductor leaves to the library, and those that it makes
    assert sum(found.values()) > 21


def test_a_file_holds_eager_and_compiled_shares():
    share = Efficiency(compute=0.5, bandwidth=0.25, launch_s=1e-6, half_rows=40.0)
    compiled = Efficiencies(
        default=share,
        dispatch_s=0.0,
        low=0.8,
        high=1.25,
        basis="a file",
        classes={("matmul", "forward"): share},
        overlap=1.0,
        beyond_cache=0.125,
    )
    read = tomllib.loads(text("i7-12700h", None, compiled))
    assert fitted(read["compiled"]) == compiled
    assert "default" not in read


@pytest.mark.skipif(not TIMM.exists(), reason="the shared data are not here")
@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.card)
def test_the_clock_predicts_what_was_fitted(file):
    found = fit(file)
    clock = replace(perfect(file), efficiencies=found.efficiencies)
    assert clock.device == load(file.card)
    for row, seconds in list(zip(found.rows, found.predicted, strict=True))[::100]:
        total = sum(clock.time(kernel).seconds * times for kernel, times in row.kernels)
        assert total == pytest.approx(seconds, rel=1e-3)
    assert any(held_out(row.network) for row in found.rows)
