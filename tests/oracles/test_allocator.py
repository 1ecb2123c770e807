"""PyTorch's own CUDA caching allocator as the witness of its replay, without a GPU.

The allocator is a C++ library beside torch, `libc10_cuda.so`, and asks the CUDA runtime for memory by name.
`allocator/driver.cpp` is a runtime of our own in which memory is a counter; `allocator/witness.cpp` runs
PyTorch's allocator on it, event by event. What it says after random events, statistics, segments and blocks
with their addresses, and the text of every out-of-memory error, must be what the replay says, to the byte.
"""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from weighbridge.analyses.memory import AllocatorSettings, CachingAllocator, OutOfMemoryError
from weighbridge.errors import UsageError

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.torch

SOURCES = Path(__file__).parent / "allocator"
TORCH = Path(torch.__file__).parent
CUDA = TORCH.parent / "triton" / "backends" / "nvidia" / "include"
MIB = 1 << 20

SETTINGS = (
    "",
    "expandable_segments:True",
    "max_split_size_mb:20",
    "max_split_size_mb:64,max_non_split_rounding_mb:30",
    "roundup_power2_divisions:4",
    "roundup_power2_divisions:[1:8,4:2,>:1]",
    "per_process_memory_fraction:0.7,garbage_collection_threshold:0.5",
    "per_process_memory_fraction:0.9,garbage_collection_threshold:0.3,max_split_size_mb:40",
    "large_segment_size_mb:50",
    "large_segment_size_mb:12,max_split_size_mb:14",
    "max_split_size_mb:38,large_segment_size_mb:34",
    "expandable_segments:True,large_segment_size_mb:34,max_split_size_mb:36,"
    "per_process_memory_fraction:0.8,garbage_collection_threshold:0.6",
)
SCRIPTS = 5  # for each of the settings; 1,200 scripts of all were compared when this was written


@pytest.fixture(scope="module")
def witness(tmp_path_factory):
    """The path of the program, built in a few seconds."""
    if not torch.__version__.startswith("2.14."):
        pytest.skip(f"the replay follows torch 2.14; here is {torch.__version__}")
    if shutil.which("g++") is None:
        pytest.skip("no g++ to build the witness with")
    if not (TORCH / "lib" / "libc10_cuda.so").exists() or not (CUDA / "crt").exists():
        pytest.skip("this torch has no CUDA allocator, or triton no CUDA headers")
    where = tmp_path_factory.mktemp("witness")
    runtime = where / "libcudart.so.13"
    (where / "version.map").write_text("libcudart.so.13 { global: *; };")
    build("gcc", "-c", "-fPIC", SOURCES / "unused.c", "-o", where / "unused.o")
    build(
        "g++", "-std=c++17", "-fPIC", "-shared", f"-I{CUDA}", SOURCES / "driver.cpp", where / "unused.o",
        "-Wl,-soname,libcudart.so.13", f"-Wl,--version-script={where / 'version.map'}", "-o", runtime,
    )  # fmt: skip
    build(
        "g++", "-std=c++20", f"-I{TORCH / 'include'}", f"-I{CUDA}", SOURCES / "witness.cpp",
        f"-L{TORCH / 'lib'}", f"-L{where}", "-Wl,--no-as-needed", "-l:libcudart.so.13",
        "-l:libc10_cuda.so", "-l:libc10.so", f"-Wl,-rpath,{where}:{TORCH / 'lib'}", "-o", where / "witness",
    )  # fmt: skip
    return where / "witness"


def build(*arguments):
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def ask(witness, settings, capacity, events):
    """The witness' answer as lines, or None where it refused the settings."""
    environment = {
        **os.environ,
        "PYTORCH_CUDA_ALLOC_CONF": settings,
        "WITNESS_CAPACITY": str(capacity),
        "TORCH_CUDA_EXPANDABLE_SEGMENTS_IPC": "0",  # handles to share memory would ask the driver for more
    }
    script = "\n".join(" ".join(map(str, event)) for event in events)
    done = subprocess.run(
        [witness], input=script, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0 or "what():" in done.stderr, done.stderr
    return done.stdout.splitlines() if done.returncode == 0 else None


def answer(settings, capacity, events):
    """The replay's answer to the same events, in the witness' words."""
    allocator = CachingAllocator(
        capacity_bytes=capacity, settings=AllocatorSettings.parse(settings)
    )
    failed, lines = set(), []
    for what, *arguments in events:
        if what == "a":
            try:
                allocator.allocate(*arguments)
            except OutOfMemoryError as error:
                failed.add(arguments[0])
                before, _, after = error.report.message.partition(" Including")
                after = after.partition("in use.")[2]  # a sentence of NVML's, which is not there
                lines.append(f"oom {arguments[0]} {before}{after}")
        elif what == "f" and arguments[0] not in failed:
            allocator.free(arguments[0])
        elif what == "e":
            allocator.empty_cache()
        elif what == "q":
            lines += statistics(allocator.stats())
        elif what == "s":
            lines += segments(allocator.snapshot())
    return lines


def statistics(stats):
    names = (
        "allocation", "segment", "active", "inactive_split", "allocated_bytes", "reserved_bytes",
        "active_bytes", "inactive_split_bytes", "requested_bytes",
    )  # fmt: skip
    for name in names:
        stat = getattr(stats, name)
        yield f"stat {name} {stat.current} {stat.peak}"
    for name in ("num_alloc_retries", "num_ooms", "num_device_alloc", "num_device_free"):
        yield f"stat {name} {getattr(stats, name)}"
    yield "end"


def segments(snapshot):
    for segment in snapshot:
        small, expandable = int(segment.segment_type == "small"), int(segment.is_expandable)
        yield (
            f"segment {segment.address} {segment.total_size} {segment.stream} {small} {expandable}"
            f" {segment.pool}"
        )
        for block in segment.blocks:
            used = int(block.state == "active_allocated")
            yield f"block {block.address} {block.size} {block.requested_size} {used}"
    yield "end"


def random_events(numbers, *, pools):
    """600 allocations and frees; some sizes come back often, as in a network, and some never do."""
    streams = numbers.choice([[0], [0, 0, 0, 7], [0, 7, 9]])
    largest = numbers.choice([3, 40, 150]) * MIB
    limits = (2000, MIB, 12 * MIB, largest)
    sizes = [
        numbers.randint(1, numbers.choice(limits)) for _ in range(numbers.choice([5, 30, 1000]))
    ]
    alive = []
    for id in range(600):
        if alive and numbers.random() < numbers.choice([0.2, 0.45, 0.6]):
            yield ("f", alive.pop(numbers.randrange(len(alive))))
        elif numbers.random() < 0.01:
            yield ("e",)
        else:
            often = numbers.random() < 0.8
            size = numbers.choice(sizes) if often else numbers.randint(0, largest)
            yield ("a", id, size, numbers.choice(streams), numbers.choice(pools))
            alive.append(id)
        if numbers.random() < 0.05:
            yield ("q",)
        if numbers.random() < 0.02:
            yield ("s",)
    yield from (("q",), ("s",))


def test_the_replay_says_what_pytorchs_allocator_says(witness):
    failures = 0
    for settings in SETTINGS:
        for seed in range(SCRIPTS):
            numbers = random.Random(f"{settings} {seed}")
            capacity = numbers.choice([200, 400, 1500, 5000]) * MIB + numbers.choice([0, 12345])
            pools = [0, 0, 0, 5] if seed == 0 else [0]
            events = list(random_events(numbers, pools=pools))
            expected = ask(witness, settings, capacity, events)
            assert answer(settings, capacity, events) == expected, (settings, seed)
            failures += sum(line.startswith("oom") for line in expected)
    assert failures > 500  # and the end of memory was reached, often


ACCEPTED = {
    "max_split_size_mb:20": True,
    "max_split_size_mb:19": False,
    "max_split_size_mb:24,large_segment_size_mb:34": False,
    "large_segment_size_mb:12,max_split_size_mb:13": True,
    "large_segment_size_mb:10": False,
    "max_non_split_rounding_mb:19": False,
    "garbage_collection_threshold:1": False,
    "per_process_memory_fraction:1.5": False,
    "expandable_segments:true": False,
    "roundup_power2_divisions:3": False,
    "roundup_power2_divisions:[3:2]": False,
    "roundup_power2_divisions:[256:1,512:2": False,
    "roundup_power2_divisions:[256:0,>:4]": True,
    "foo:1": False,
    ",": False,
    " max_split_size_mb : 30 , pinned_use_background_threads:True": True,
}


def test_settings_are_refused_where_pytorch_refuses_them(witness):
    for settings, accepted in ACCEPTED.items():
        assert (ask(witness, settings, 100 * MIB, []) is not None) == accepted, settings
        if accepted:
            AllocatorSettings.parse(settings)
            continue
        with pytest.raises(UsageError, match="allocator"):
            AllocatorSettings.parse(settings)
