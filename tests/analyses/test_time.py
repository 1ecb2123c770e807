"""Time: the roofline of a kernel and of a step, with every figure worked out by hand."""

from dataclasses import replace

import pytest

from round_numbers import CARD, PERFECT
from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.step import Untimed, step_time, step_time_or_why
from weighbridge.api import weigh
from weighbridge.devices import Device, Efficiencies, Efficiency, Rates
from weighbridge.errors import UsageError
from weighbridge.ops.kernel import Gemm, Kernel


def clock(device=CARD, efficiencies=PERFECT, **settings):
    return Clock(device=device, efficiencies=efficiencies, **settings)


def matmul(dtype="float16", macs=10**9, moved=10**6):
    return Kernel(kind="matmul", dtype=dtype, macs=macs, read_bytes=moved)


def test_a_kernel_takes_the_longer_of_arithmetic_and_bytes():
    # 2e9 FLOPs at 1e12 a second are 2 ms; 1e6 bytes at 10e9 a second 0.1 ms
    time = clock().time(matmul())
    assert time.compute_s == pytest.approx(2e-3)
    assert time.memory_s == pytest.approx(1e-4)
    assert time.seconds == pytest.approx(2e-3)
    assert time.bound == "compute"


def test_a_kernel_that_moves_much_is_bound_by_memory():
    # 1e9 bytes at 10e9 a second are 100 ms
    time = clock().time(matmul(moved=10**9))
    assert time.seconds == pytest.approx(0.1)
    assert time.bound == "memory"


def test_shares_of_the_peaks_and_the_launch():
    found = Efficiencies(
        default=Efficiency(compute=1.0, bandwidth=1.0, launch_s=0.0),
        dispatch_s=0.0,
        low=1.0,
        high=1.0,
        basis="",
        classes={("matmul", "forward"): Efficiency(compute=0.5, bandwidth=1.0, launch_s=5e-3)},
    )
    # 2 ms of arithmetic at half the rate are 4 ms, and 5 ms to launch it
    time = clock(efficiencies=found).time(matmul())
    assert time.seconds == pytest.approx(9e-3)
    assert time.bound == "overhead"
    # another part of the class takes the forward part's
    assert found.of("matmul", "backward") == found.of("matmul", "forward")
    assert found.fitted("matmul")
    assert not found.fitted("copy")


def test_what_is_no_contraction_runs_on_the_general_cores():
    # 1e8 operations on float16 at the float32 rate, 100e9 a second: 1 ms
    time = clock().time(Kernel(kind="activation", dtype="float16", operations=10**8))
    assert time.compute_s == pytest.approx(1e-3)


def test_convolutions_of_float32_run_in_tf32_where_there_is_one():
    ampere = Device(
        name="an Ampere",
        bandwidth_bytes_per_s=10e9,
        vector_flop_per_s=Rates(float32=100e9),
        matrix_flop_per_s=Rates(tf32=400e9),
    )
    convolution = Kernel(kind="convolution", macs=10**9)
    product = matmul(dtype="float32")
    # PyTorch's default: 2e9 at 400e9 a second against 2e9 at 100e9
    assert clock(ampere).time(convolution).seconds == pytest.approx(5e-3)
    assert clock(ampere).time(product).seconds == pytest.approx(20e-3)
    assert clock(ampere, tf32=True).time(product).seconds == pytest.approx(5e-3)
    assert clock().time(convolution).seconds == pytest.approx(20e-3)


def test_a_dtype_without_a_rate_says_which_there_are():
    with pytest.raises(UsageError, match="Card has no rate for bfloat16") as error:
        clock().time(matmul(dtype="bfloat16"))
    assert error.value.hints == (
        "it would emulate bfloat16 in float32",
        "choose --precision fp16 or amp-fp16",
        "it has: float16 1.00 TFLOP/s, float32 100 GFLOP/s",
    )


def test_a_device_without_half_precision_is_to_be_used_in_float32():
    plain = Device(name="plain", bandwidth_bytes_per_s=10e9, vector_flop_per_s=Rates(float32=100e9))
    with pytest.raises(UsageError, match="plain has no rate for float16") as error:
        clock(plain).time(matmul())
    assert "choose --precision float32" in error.value.hints
    with pytest.raises(UsageError, match="plain has no rate for float64") as error:
        clock(plain).time(matmul(dtype="float64"))
    assert error.value.hints[0] == "choose --precision float32"


def test_a_device_of_which_no_rate_is_known_is_refused():
    bare = Device(name="bare", bandwidth_bytes_per_s=10e9)
    with pytest.raises(UsageError, match="nobody says how fast bare computes"):
        clock(bare).time(matmul())


def test_what_is_no_contraction_runs_at_the_rate_of_products_where_no_other_is_known():
    # as of TPUs: 1e8 operations at 1e12 a second, and 1e6 bytes at 10e9, which is what takes the time
    tpu = Device(name="tpu", bandwidth_bytes_per_s=10e9, matrix_flop_per_s=Rates(bfloat16=1e12))
    time = clock(tpu).time(
        Kernel(kind="activation", dtype="bfloat16", operations=10**8, read_bytes=10**6)
    )
    assert time.compute_s == pytest.approx(1e-4)
    assert time.seconds == pytest.approx(1e-4)
    with pytest.raises(UsageError, match="tpu has no rate for float32"):
        clock(tpu).time(matmul(dtype="float32"))


def test_a_device_of_unknown_bandwidth_is_refused():
    with pytest.raises(UsageError, match="nobody says how fast a size is"):
        clock(Device(name="a size")).time(matmul())


def test_a_step_adds_up_its_kernels():
    # 2 * 2 * 3 = 12 FLOPs of float32 in (2 x 3)(3 x 2) + 2 x 2 additions; nothing else runs
    program = weigh("(Input)(3)->(FC)2", batch=2, backend="cuda").program
    step = step_time(program, clock())
    assert [timed.time.kernel.kind for timed in step.kernels] == ["matmul"]
    # x 6, w 6, b 2 and y 4 numbers of 4 bytes: 72 bytes at 10e9 a second
    assert step.seconds.value == pytest.approx(7.2e-9)
    assert step.seconds.low == pytest.approx(0.9 * 7.2e-9)
    assert step.samples_per_s == pytest.approx(2 / 7.2e-9)
    assert list(step.by_bound) == ["memory"]


def test_a_slow_host_makes_a_gpu_wait_and_adds_up_on_a_cpu():
    program = weigh("(Input)(3)->(FC)2", batch=2, backend="cuda").program
    slow = Efficiencies(default=PERFECT.default, dispatch_s=1e-3, low=1.0, high=1.0, basis="")
    step = step_time(program, clock(efficiencies=slow))
    assert step.waits_for_host
    assert step.seconds.value == pytest.approx(1e-3)
    cpu = Device(
        name="a CPU",
        kind="cpu",
        bandwidth_bytes_per_s=10e9,
        vector_flop_per_s=Rates(float32=100e9),
    )
    on_cpu = step_time(program, clock(cpu, slow))
    assert not on_cpu.waits_for_host
    assert on_cpu.seconds.value == pytest.approx(1e-3 + 7.2e-9)


def test_a_host_that_nobody_knows_may_be_a_slow_one():
    # two operators, each handed out in 7 us by a usual host and in 20 us by a slow one; their kernels take nanoseconds
    usual = replace(PERFECT, dispatch_s=7e-6)
    waiting = weigh("(Input)(3)->(FC)6->(ReLU)", batch=2, backend="cuda").program
    seconds = step_time(waiting, clock(efficiencies=usual)).seconds
    assert (seconds.value, seconds.high) == pytest.approx((14e-6, 40e-6))
    # x 2^16 x 3, w 18, b 6 and y 2^16 x 6 numbers, and y read and written, 22 numbers of 4 bytes a row and some: 0.6 ms, which hide it
    busy = weigh("(Input)(3)->(FC)6->(ReLU)", batch=2**16, backend="cuda").program
    seconds = step_time(busy, clock(efficiencies=usual)).seconds
    assert seconds.high == pytest.approx(1.2 * seconds.value)
    # a processor is its own host
    on_cpu = step_time(waiting, clock(replace(CARD, kind="cpu"), usual)).seconds
    assert on_cpu.high == pytest.approx(1.2 * on_cpu.value)


def test_layers_share_what_the_host_takes_as_well():
    # two operators, the second of which moves half as much: x 6, w 18, b 6, y 12 numbers are 168 bytes, 16.8 ns;
    # the activation reads and writes 12, 96 bytes, 9.6 ns
    program = weigh("(Input)(3)->(FC)6->(ReLU)", batch=2, backend="cuda").program
    seconds = {"fc1": 16.8e-9, "relu1": 9.6e-9}
    assert step_time(program, clock()).by_scope == pytest.approx(seconds)
    slow = Efficiencies(default=PERFECT.default, dispatch_s=1e-3, low=1.0, high=1.0, basis="")
    # a GPU runs them while the host is at the next: each takes its 1 ms of the host's 2
    waiting = step_time(program, clock(efficiencies=slow))
    assert waiting.by_scope == pytest.approx({"fc1": 1e-3, "relu1": 1e-3})
    assert waiting.by_bound == pytest.approx({"host": 2e-3 - 26.4e-9, "memory": 26.4e-9})
    # on a CPU the host's 1 ms comes on top of each
    on_cpu = step_time(program, clock(replace(CARD, kind="cpu"), slow))
    both = {scope: 1e-3 + value for scope, value in seconds.items()}
    assert on_cpu.by_scope == pytest.approx(both)
    for step in (waiting, on_cpu):
        assert sum(step.by_op.values()) == pytest.approx(step.seconds.value)
        assert sum(step.by_bound.values()) == pytest.approx(step.seconds.value)
        assert sum(step.by_phase.values()) == pytest.approx(step.seconds.value)
        assert sum(step.by_kind.values()) == pytest.approx(step.seconds.value)


def test_what_is_handed_out_in_a_list_takes_no_more_of_the_host():
    # fc, its loss and gradients are handed out one by one, the two updates of a list of tensors with others
    program = weigh("(Input)(3)->(FC)2", batch=2, backend="cuda", train="sgd").program
    slow = Efficiencies(default=PERFECT.default, dispatch_s=1e-3, low=1.0, high=1.0, basis="")
    waiting = step_time(program, clock(efficiencies=slow))
    assert waiting.waits_for_host
    assert waiting.by_phase["update"] == 0
    assert sum(waiting.by_op.values()) == pytest.approx(waiting.seconds.value)


def test_why_a_time_is_not_known():
    program = weigh("(Input)(3)->(FC)2", batch=2, backend="cuda").program
    found = step_time_or_why(program, clock(Device(name="a size, 3 GiB")))
    assert isinstance(found, Untimed)
    assert found.why == "nobody says how fast a size is"
    idle = step_time_or_why(weigh("(Input)(3)->(Flatten)").program, clock())
    assert isinstance(idle, Untimed)
    assert idle.why == "nothing of this network takes time"


def test_phases_and_operators_share_the_time_of_the_step():
    program = weigh("resnet18", batch=2, train="sgd").program
    step = step_time(program, clock())
    assert sum(step.by_phase.values()) == pytest.approx(step.device_s)
    assert sum(step.by_op.values()) == pytest.approx(step.device_s)
    assert sum(step.by_class.values()) == pytest.approx(step.device_s)
    assert all(seconds > 0 for seconds in step.by_phase.values())
    assert set(step.extrapolating) == set(step.by_class)


# (Input)(100)->(FC)200: 20,000 multiply-accumulates a sample, in float32 at 100e9 a second 0.4 us, and in memory 200 * 4 bytes
# of result, 100 * 4 of input and 200 * 101 * 4 of weights at 10e9 a second: 8.2 us at batch 1
def fully_connected(batch, *, least=0.0, most=float("inf"), line="(Input)(100)->(FC)200"):
    share = Efficiency(compute=1.0, bandwidth=1.0, launch_s=0.0, least=least, most=most)
    known = replace(
        PERFECT,
        classes={("matmul", "forward"): share, ("elementwise", "forward"): PERFECT.default},
        intervals={"extrapolating": (0.5, 3.0)},
    )
    return step_time(weigh(line, batch=batch, backend="cuda").program, clock(efficiencies=known))


def test_a_step_of_sizes_that_were_not_measured_says_so():
    for batch, named in ((1, ("smaller matmul",)), (2, ()), (5, ()), (6, ("larger matmul",))):
        step = fully_connected(batch, least=40_000, most=100_000)
        assert step.extrapolating == named
        ends = (0.5, 3.0) if named else (0.9, 1.2)
        assert (step.seconds.low, step.seconds.high) == pytest.approx(
            tuple(step.seconds.value * end for end in ends)
        )


def test_a_few_kernels_of_other_sizes_do_not_make_a_step_extrapolating():
    # a second layer of 10 x 200 takes 0.8 KB + 0.04 KB + 8 KB, a tenth of the first; one of 1 x 200 a hundredth
    for features, named in ((10, ("smaller matmul",)), (1, ())):
        step = fully_connected(1, least=10_000, line=f"(Input)(100)->(FC)200->(FC){features}")
        assert step.extrapolating == named


def test_classes_and_sizes_are_named_by_their_time():
    line = "(Input)(100)->(FC)200->(Softmax)"
    step = fully_connected(1, most=10_000, line=line)
    assert step.extrapolating == ("larger matmul", "softmax")
    # no kernel of the class was measured, whatever its file says of it
    assert fully_connected(1, least=float("inf"), most=0.0).extrapolating == ("matmul",)


def test_products_of_few_rows_reach_less():
    few = replace(
        PERFECT,
        classes={
            ("matmul", "forward"): Efficiency(
                compute=1.0, bandwidth=1.0, launch_s=0.0, half_rows=32.0
            )
        },
    )
    rows = Gemm(batch=1, rows=32, columns=10**4, depth=3125)
    # 2 * 32 * 1e4 * 3125 = 2e9 FLOPs at 1e12 a second: 2 ms, and as long again with 32 rows
    kernel = Kernel(kind="matmul", dtype="float16", macs=rows.macs, gemm=rows)
    assert clock(efficiencies=few).time(kernel).compute_s == pytest.approx(4e-3)


def test_what_a_cache_does_not_hold_takes_longer():
    card = replace(CARD, l2_bytes=1_000_000, l3_bytes=4_000_000)
    slow = replace(PERFECT, beyond_cache=0.5)
    # half of 4 MB stay in: 2 MB at 10 GB/s are 0.2 ms; of 5 MB, 3 lie beyond and add 3e6 / 5e9 s to 0.5 ms
    at = [
        clock(card, slow).time(matmul(macs=0, moved=size)).memory_s
        for size in (2_000_000, 5_000_000)
    ]
    assert at == pytest.approx([2e-4, 5e-4 + 6e-4])


def test_a_compiled_program_takes_the_shares_of_compiled_ones():
    halved = replace(
        PERFECT, default=replace(PERFECT.default, bandwidth=0.5), basis="compiled", low=0.8
    )
    both = replace(PERFECT, compiled=halved)
    for compiled, seconds, basis in ((False, 7.2e-9, PERFECT.basis), (True, 14.4e-9, "compiled")):
        program = weigh("(Input)(3)->(FC)2", batch=2, backend="cuda", compiled=compiled).program
        step = step_time(program, clock(efficiencies=both))
        assert step.seconds.value == pytest.approx(seconds)
        assert step.seconds.basis == basis


def test_arithmetic_and_traffic_overlap_as_far_as_they_do():
    # 2 ms of arithmetic and 2 ms of bytes: hidden wholly 2 ms; with p = 2, 2 x sqrt(2)
    both = matmul(moved=20 * 10**6)
    assert clock().time(both).seconds == pytest.approx(2e-3)
    partly = replace(PERFECT, overlap=2.0)
    assert clock(efficiencies=partly).time(both).seconds == pytest.approx(2e-3 * 2**0.5)


def test_what_the_last_cache_holds_moves_faster():
    # the largest operand is as large as the cache: half of it is taken to be there and moves at three times the
    # speed, so that 100 ms take 50 + 50 / 3
    device = replace(CARD, l2_bytes=2**20)
    cached = replace(PERFECT, cached=2.0)
    kernel = replace(matmul(moved=10**9), largest_bytes=2**20)
    time = clock(device=device, efficiencies=cached).time(kernel)
    assert time.memory_s == pytest.approx(0.05 + 0.05 / 3)
    # one that is ten times as large is hardly there: a hundredth
    large = replace(kernel, largest_bytes=10 * 2**20)
    time = clock(device=device, efficiencies=cached).time(large)
    assert time.memory_s == pytest.approx(0.1 * (100 / 101 + 1 / 101 / 3))


def test_convolutions_on_matrix_units_fill_their_tiles():
    gpu = replace(CARD, backend="cuda", multiprocessors=4)

    def of(columns, part="forward"):
        gemm = Gemm(batch=1, rows=2**22, columns=columns, depth=576)
        return Kernel(kind="convolution", part=part, dtype="float16", macs=gemm.macs, gemm=gemm)

    def seconds(device, *asked):
        return clock(device=device).time(of(*asked)).seconds

    # 40 columns take a tile's 64, and as long as those; of a device without matrix units nothing is known
    assert seconds(gpu, 40) == pytest.approx(seconds(gpu, 64))
    assert seconds(gpu, 40, "weight gradient") == pytest.approx(2 * of(40).macs / 1e12)
    general = replace(gpu, matrix_flop_per_s=Rates(), vector_flop_per_s=Rates(float16=1e12))
    assert seconds(general, 40) == pytest.approx(2 * of(40).macs / 1e12)


def test_threads_wait_for_memory_where_there_are_few():
    # 4 million times 0.25 us is a second, on a GPU
    kernel = Kernel(kind="resampling", dtype="float16", waits=4 * 10**6)
    assert clock(device=replace(CARD, backend="cuda")).time(kernel).seconds == pytest.approx(1)
    assert clock().time(kernel).seconds == 0


def test_convolutions_with_channels_last_are_a_class_of_their_own():
    first = Efficiency(compute=0.5, bandwidth=0.5, launch_s=0.0)
    last = Efficiency(compute=0.9, bandwidth=0.9, launch_s=0.0)
    found = replace(
        PERFECT,
        classes={
            ("convolution", "forward"): first,
            ("convolution, channels last", "forward"): last,
            ("convolution 1x1", "forward"): first,
        },
    )
    assert found.of("convolution", "forward") == first
    assert found.of("convolution", "forward", channels_last=True) == last
    # where its own was not fitted, the other's
    assert found.of("convolution 1x1", "forward", channels_last=True) == first


def test_intervals_by_the_sort_of_step():
    found = replace(PERFECT, intervals={"training, channels-last": (0.8, 1.3)})
    assert found.interval("training, channels-last") == (0.8, 1.3)
    assert found.interval("inference, contiguous") == (0.9, 1.2)
