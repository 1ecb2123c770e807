"""From a step to a training run: every figure worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weighbridge.analyses.memory.largest import Room
from weighbridge.analyses.memory.resident import Loop
from weighbridge.analyses.memory.timeline import lifetimes
from weighbridge.analyses.run import (
    Accuracy,
    Beaten,
    Pace,
    Run,
    Schedule,
    Step,
    Terms,
    beaten,
    by_hand,
    fewer_epochs_lose,
    pace,
    race,
    stepping,
    to_rent,
)
from weighbridge.analyses.run import run as run_on
from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.step import Estimate
from weighbridge.analyses.where import GIB, Site, needed, where
from weighbridge.devices import Device, Efficiencies, Efficiency, Instance, Rates, load
from weighbridge.errors import UsageError
from weighbridge.network import Network
from weighbridge.rooms import backend

# 100 GFLOP/s of float32, 10 GB/s, 450 W
CARD = Device(
    name="a card",
    key="a-card",
    memory_bytes=24 * GIB,
    bandwidth_bytes_per_s=10e9,
    vector_flop_per_s=Rates(float32=100e9),
    tdp_w=450.0,
)
PERFECT = Efficiencies(
    default=Efficiency(compute=1.0, bandwidth=1.0, launch_s=0.0),
    dispatch_s=0.0,
    low=0.9,
    high=1.2,
    basis="by definition",
)
DAY_S = 24 * 3600.0


def perfect(device, precision="float32"):
    """Every device reaches its peaks, and the host takes no time."""
    return Clock(device=device, efficiencies=PERFECT)


def agreed(*instances):
    return Terms(clock=perfect, instances=instances)


def network(text="(Input)(1000)->(FC)1000", **settings):
    net = Network(text)
    return net.program, net.workload({"train": "sgd", **settings})


def exactly(seconds):
    return Estimate(value=seconds, low=seconds, high=seconds, basis="by hand")


def instance(price, *, device="a-card", **told):
    return Instance(provider="p", name="n", device=device, price_per_hour=price, **told)


# -- the learning rules (L8) ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "steps", "updates"),
    [
        ("sample", 1000, 1000),  # N
        ("batch", 4, 4),  # ceil(1000 / 256)
        ("epoch", 4, 1),  # 1, of ceil(1000 / 256) micro-steps
    ],
)
def test_updates_an_epoch_by_the_learning_rule(rule, steps, updates):
    _, asked = network(dataset=1000, batch=256, learning_rule=rule)
    workload = stepping(asked)
    schedule = Schedule(dataset=1000, batch=workload.batch, accumulation=workload.accumulation)
    assert (schedule.steps, schedule.updates) == (steps, updates)


def test_an_epoch_of_one_batch_accumulates_nothing():
    _, asked = network(dataset=256, batch=256, learning_rule="epoch")
    assert stepping(asked).accumulation == 1


def test_updates_of_accumulated_batches():
    # 10 samples in batches of 3 are 4 steps, and 4 steps 3 to an update are 2 updates
    schedule = Schedule(dataset=10, batch=3, accumulation=3)
    assert (schedule.steps, schedule.updates) == (4, 2)


def test_an_epoch_is_its_steps_of_which_some_update():
    # 4 steps of which 2 end in an update: 2 x 5 s + 2 x 3 s
    found = Pace(step=exactly(5.0), micro=exactly(3.0), limit="compute", rated=CARD)
    assert found.epoch(Schedule(dataset=10, batch=3, accumulation=3)).value == 16.0


def test_a_rule_that_accumulates_by_itself_takes_no_accumulation():
    _, asked = network(dataset=100, accumulate=2, learning_rule="epoch")
    with pytest.raises(UsageError, match="an update an epoch and 2 batches in an update"):
        stepping(asked)
    _, asked = network(dataset=100, accumulate=2, learning_rule="sample")
    with pytest.raises(UsageError, match="an update a sample and 2 batches in an update"):
        stepping(asked)


def test_a_data_set_smaller_than_the_batch_is_refused():
    _, asked = network(dataset=10, batch=64)
    with pytest.raises(UsageError, match="a data set of 10 samples has no batch of 64"):
        stepping(asked)
    _, asked = network(dataset=10, batch=64, learning_rule="sample")
    assert stepping(asked).batch == 1


def test_an_update_an_epoch_needs_the_size_of_the_data_set():
    _, asked = network(learning_rule="epoch")
    with pytest.raises(UsageError, match="an update an epoch, and nobody says of how many samples"):
        stepping(asked)


# -- the pace -------------------------------------------------------------------------------------------


def test_a_micro_step_lacks_the_update():
    build, asked = network(batch=2)
    whole = pace(Step.of(build(asked)), perfect(CARD))
    two = pace(Step.of(build(replace(asked, accumulation=2))), perfect(CARD))
    assert whole.micro == whole.step
    # SGD reads 1,001,000 parameters and their gradients and writes the parameters: 12 bytes each at 10e9 a second
    assert two.step.value - two.micro.value == pytest.approx(1_001_000 * 12 / 10e9)
    assert two.step.low == pytest.approx(0.9 * two.step.value)


def test_data_loading_bounds_a_step_from_below():
    build, asked = network(batch=2)
    free = pace(Step.of(build(asked)), perfect(CARD))
    assert free.limit == "memory"
    # two samples at 4 a second are there after half a second, and the step takes milliseconds
    fed = pace(Step.of(build(asked)), perfect(CARD), 4.0)
    assert (fed.step.value, fed.step.low, fed.step.high) == (0.5, 0.5, 0.5)
    assert fed.micro.value == 0.5
    assert fed.limit == "data loading"
    assert pace(Step.of(build(asked)), perfect(CARD), 1e9) == free


def test_a_slow_host_is_what_a_step_goes_to():
    slow = Clock(device=CARD, efficiencies=replace(PERFECT, dispatch_s=1.0))
    build, asked = network(batch=2)
    assert pace(Step.of(build(asked)), slow).limit == "host"


def test_a_network_that_does_nothing_has_no_pace():
    nothing = replace(network()[0](network()[1]), ops=())
    with pytest.raises(UsageError, match="nothing of this network takes time"):
        pace(Step.of(nothing), perfect(CARD))


# -- energy and money -----------------------------------------------------------------------------------


def test_energy_is_the_power_for_the_whole_time():
    # 450 W for 10 epochs of 2.4 hours: 450 x 86,400 J = 38.88 MJ = 10.8 kWh
    found = by_hand("deep", epoch_s=2.4 * 3600, epochs=10, device=CARD, terms=agreed())
    assert found.total is not None
    assert found.total.value == pytest.approx(DAY_S)
    assert found.energy_j == pytest.approx(450 * DAY_S)
    assert by_hand("deep", epoch_s=1.0, epochs=1, device=None, terms=agreed()).energy_j is None
    silent = replace(CARD, tdp_w=None)
    assert by_hand("deep", epoch_s=1.0, epochs=1, device=silent, terms=agreed()).energy_j is None


def test_cost_is_the_price_of_the_whole_instance_for_the_time():
    # 24 h at 2 an hour; the machine of 8 devices at 12 an hour is cheaper a device and dearer to rent
    terms = agreed(instance(12.0, count=8), instance(2.0), instance(1.0, device="other"))
    found = by_hand("deep", epoch_s=2.4 * 3600, epochs=10, device=CARD, terms=terms)
    assert found.rented == terms.instances[1]
    assert found.cost == pytest.approx(48.0)
    assert found.cost_of_epoch == pytest.approx(4.8)
    assert by_hand("deep", epoch_s=1.0, epochs=1, device=CARD, terms=agreed()).cost is None


def test_energy_and_cost_are_of_the_predicted_time():
    build, asked = network(dataset=1000, batch=256)
    eight = agreed(instance(8.0, count=8))  # all of them are rented, for one that is used
    found = run_on(build, asked, Room(device=CARD), eight, network="net", epochs=1)
    assert found.total is not None
    assert found.total.high > found.total.value
    assert found.energy_j == pytest.approx(450 * found.total.value)
    assert found.cost == pytest.approx(8 * found.total.value / 3600)


def test_prices_in_dollars_come_before_others():
    euros, dollars = instance(1.0, currency="EUR"), instance(2.0)
    assert to_rent((euros, dollars), CARD) == dollars
    assert to_rent((euros,), CARD) == euros
    assert to_rent((), CARD) is None


def test_the_users_own_prices_come_before_all_others():
    own = instance(3.0, currency="EUR", own=True)
    assert to_rent((instance(1.0), own), CARD) == own
    assert to_rent((instance(1.0), replace(own, device="another")), CARD) == instance(1.0)


# -- a run ----------------------------------------------------------------------------------------------


def test_a_run_is_epochs_of_steps():
    build, asked = network(dataset=1000, batch=256)
    terms = agreed(instance(3.6))
    found = run_on(build, asked, Room(device=CARD), terms, network="net", epochs=7)
    assert found.pace is not None
    assert found.total is not None
    # 7 epochs of ceil(1000 / 256) = 4 steps
    assert found.total.value == pytest.approx(7 * 4 * found.pace.step.value)
    assert found.total.high == pytest.approx(1.2 * found.total.value)
    assert found.samples_per_s == pytest.approx(256 / found.pace.step.value)
    # 3.6 an hour are 1 in 1000 s
    assert found.cost == pytest.approx(found.total.value / 1000)
    assert found.cost_of_million == pytest.approx(1e6 / found.samples_per_s / 1000)
    assert found.fits
    assert found.largest is None


def test_an_update_an_epoch_takes_as_long_as_its_micro_steps_and_one_update():
    build, asked = network(dataset=1000, batch=256, learning_rule="epoch")
    found = run_on(build, asked, Room(device=CARD), agreed(), network="net", epochs=1)
    assert found.pace is not None
    assert found.epoch is not None
    assert found.epoch.value == pytest.approx(found.pace.step.value + 3 * found.pace.micro.value)


def test_the_rate_of_accumulated_batches_is_that_of_all_their_steps():
    build, asked = network(dataset=1000, batch=100, accumulate=5)
    found = run_on(build, asked, Room(device=CARD), agreed(), network="net", epochs=1)
    assert found.pace is not None
    assert found.epoch is not None
    # 10 steps of 100 samples, 2 of which update: as fast as 500 samples in one that does and four that do not
    assert found.samples_per_s == pytest.approx(1000 / found.epoch.value)
    assert found.pace.micro.value < found.pace.step.value


def test_an_update_a_sample_is_a_step_of_one_sample():
    build, asked = network(dataset=1000, batch=256, learning_rule="sample")
    found = run_on(build, asked, Room(device=CARD), agreed(), network="net", epochs=1)
    assert found.pace is not None
    assert found.epoch is not None
    assert found.workload is not None
    assert found.workload.batch == 1
    assert found.epoch.value == pytest.approx(1000 * found.pace.step.value)


def test_a_batch_that_does_not_fit_is_made_of_micro_batches():
    small = replace(load("rtx-3060"), memory_bytes=3 * GIB)
    small = replace(small, driver_memory_bytes=None, usable_memory_bytes=None)
    net = Network("resnet18")
    asked = net.workload({"train": "sgd", "batch": 256, "dataset": 1024})
    found = run_on(net.program, asked, Room(device=small), agreed(), network="net", epochs=1)
    assert found.batch == 256
    assert found.largest is not None
    assert 16 <= found.largest < 256
    assert found.schedule is not None
    assert found.schedule.batch <= found.largest
    assert found.schedule.batch * found.schedule.accumulation == 256
    assert found.schedule.updates == 4  # as many as without
    assert found.fits
    assert found.pace is not None
    # an update an epoch does the same with all of its micro-steps
    epoch = replace(asked, learning_rule="epoch")
    whole = run_on(net.program, epoch, Room(device=small), agreed(), network="net", epochs=1)
    assert whole.schedule is not None
    assert whole.schedule.updates == 1
    assert whole.schedule.batch == whole.largest


def test_where_not_even_one_sample_fits_there_is_no_time():
    tiny = replace(load("rtx-3060"), memory_bytes=GIB, driver_memory_bytes=None)
    net = Network("vgg16")
    asked = net.workload({"train": "adamw", "batch": 8, "dataset": 1024})
    found = run_on(net.program, asked, Room(device=tiny), agreed(), network="net", epochs=1)
    assert found.largest == 0
    assert found.pace is None
    assert found.total is None
    assert found.samples_per_s is None
    assert found.unknown == "it does not fit"


def test_a_size_of_memory_has_an_answer_and_no_time():
    build, asked = network(dataset=1000)
    size = Device(name="24 GiB", memory_bytes=24 * GIB)
    found = run_on(build, asked, Room(device=size), agreed(), network="net", epochs=1)
    assert found.fits
    assert found.pace is None
    assert found.unknown.startswith("nobody says how fast")


def test_a_device_without_a_rate_for_the_dtype_is_refused():
    build, asked = network(dataset=1000, precision="bf16")
    with pytest.raises(UsageError, match="a card has no rate for bfloat16"):
        run_on(build, asked, Room(device=CARD), agreed(), network="net", epochs=1)


# -- runs beside each other -----------------------------------------------------------------------------


def entry(name, total_s, epochs=1, top1=None, dataset="ImageNet-1K"):
    found = by_hand(name, epoch_s=total_s / epochs, epochs=epochs, device=None, terms=agreed())
    if top1 is None:
        return found
    accuracy = Accuracy(top1=top1, top5=top1, dataset=dataset, source="s", url="u")
    return replace(found, accuracy=accuracy)


def test_the_lectures_example():
    # L22: 10 epochs of 2.4 hours are 24 hours, 100 of 1.5 minutes 2.5 hours
    deep, shallow = entry("deep", DAY_S, epochs=10), entry("shallow", 9000.0, epochs=100)
    found = race([deep, shallow])
    assert [run.network for run in found.runs] == ["shallow", "deep"]
    assert fewer_epochs_lose(found.timed) == (deep, shallow)
    assert fewer_epochs_lose(race([entry("a", 2.0, epochs=2), entry("b", 1.0)]).timed) is None
    assert fewer_epochs_lose(()) is None


def test_runs_of_unknown_time_come_last():
    unknown = Run(network="unknown", epochs=1)
    found = race([unknown, entry("slow", 2.0), entry("fast", 1.0)])
    assert [run.network for run in found.runs] == ["fast", "slow", "unknown"]
    assert len(found.timed) == 2


def test_who_is_slower_and_no_more_accurate_is_beaten():
    fast, middle, slow = (
        entry("fast", 1.0, top1=0.7),
        entry("middle", 2.0, top1=0.8),
        entry("slow", 3.0, top1=0.7),
    )
    (found,) = beaten(race([slow, fast, middle]).timed)
    # middle is slower than fast and better; slow is no better than either, and middle is the better of them
    assert (found.run, found.by) == (slow, middle)
    assert beaten([fast, slow]) == (Beaten(run=slow, by=fast),)  # as accurate is no less accurate
    assert beaten([fast, entry("unknown", 2.0)]) == ()
    assert beaten([fast, entry("elsewhere", 2.0, top1=0.1, dataset="CIFAR-10")]) == ()


# -- where ----------------------------------------------------------------------------------------------


def look(devices, found="named", order="time", terms=None, **settings):
    build, asked = network(**settings)
    sites = [Site(room=Room(device=device), found=found) for device in devices]
    return where(
        build, asked, sites, terms or agreed(), backend=backend, network="net", order=order
    )  # fmt: skip


def test_devices_in_the_order_that_was_asked_for():
    fast = replace(CARD, name="fast", key="fast", bandwidth_bytes_per_s=20e9)
    small = replace(
        CARD, name="small", key="small", memory_bytes=4 * GIB, bandwidth_bytes_per_s=5e9
    )
    full = replace(CARD, name="full", key="full", memory_bytes=GIB // 2)
    terms = agreed(instance(1.0), instance(9.0, device="fast"))
    devices = [full, small, CARD, fast]

    def keys(order):
        return [r.device.key for r in look(devices, order=order, terms=terms).runs]

    # what does not fit stands last
    assert keys("time") == ["fast", "a-card", "small", "full"]
    # half the time at nine times the price; what nobody rents out comes after
    assert keys("cost") == ["a-card", "fast", "small", "full"]
    assert keys("memory")[0] == "small"
    found = look(devices, terms=terms)
    assert found.fastest is not None
    assert found.fastest.device == fast
    assert found.cheapest is not None
    assert found.cheapest.device == CARD
    assert found.here == ()
    assert found.runs_here is None


def test_this_machine_is_told_apart():
    assert look([CARD], found="here").runs_here is not None
    assert look([replace(CARD, memory_bytes=GIB // 2)], found="here").runs_here is None


def test_in_the_catalogue_a_device_without_a_rate_is_a_row_of_unknown_time():
    found = look([CARD], found="catalogue", precision="bf16")
    (run,) = found.runs
    assert run.pace is None
    assert run.unknown == "a card has no rate for bfloat16"
    with pytest.raises(UsageError, match="a card has no rate for bfloat16"):
        look([CARD], found="named", precision="bf16")


def test_memory_that_the_buyer_chooses_is_the_smallest_that_fits():
    mac = replace(
        CARD,
        key="mac",
        kind="apple",
        backend="mps",
        memory_bytes=None,
        memory_options_bytes=(32 * GIB, 16 * GIB, GIB // 4),
    )
    (run,) = look([mac]).runs
    assert run.resident is not None
    assert run.resident.capacity_bytes == 16 * GIB
    (run,) = look([replace(mac, memory_options_bytes=(GIB // 8, GIB // 4))]).runs
    assert run.resident is not None
    assert run.resident.capacity_bytes == GIB // 4
    assert not run.fits


def test_the_smallest_memory_that_a_step_surely_fits():
    net = Network("resnet50")
    loop = Loop.of(lifetimes(net.program(net.workload({"train": "adamw", "batch": 64}))))
    found = needed(loop)
    assert found % GIB == 0

    def fits(size):
        return bool(Room(device=Device(name="a GPU", memory_bytes=size)).resident(loop))

    assert fits(found)
    assert not fits(found - GIB)
