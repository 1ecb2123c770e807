"""What is known of the machines that networks run on, without having them.

A card (`cards/<name>.toml`) says what a device holds and how fast it can be at best: memory, bandwidth,
caches, dense peaks by dtype, clocks, links, power. What is common to an architecture (the CUDA context, the
cuBLAS workspace, which PyTorch backend it is) stands once, in `architectures.toml`. Every number names the
document that it is from, in `documents.toml`; a number without one is not loaded.

Peaks are dense. A data sheet's larger number, "with sparsity", is twice what a dense network can reach.
A *device* is what the framework sees as one: a board with two dies that PyTorch sees as two devices is
half a board here. What nobody publishes is left out, and reads None: unknown is not zero.

    load("rtx-4090").peak_flop_per_s("float16")     # 165.2e12, accumulated in float32
    parse("m2-max:64GiB").capacity_bytes            # the memory that the buyer chose
    here()                                          # this machine's memory
    instances()                                     # what renting costs, dated

Adding a device is adding a TOML file to `cards`; `docs/devices.md` describes the keys.
"""

from __future__ import annotations

from .catalogue import CPU, load, load_all, names, parse, size_of, with_memory
from .device import Device, Kind, Range, Rates, Source
from .efficiency import UNMEASURED, Efficiencies, Efficiency
from .machine import gpu, gpus_by_driver, here, may_have_gpus
from .measured import measured
from .nearest import efficiencies, taken_over
from .prices import Instance, cheapest, instances, user_prices
from .sustained import PRODUCTS, clock_share, reached
from .typical import rated

__all__ = [
    "CPU",
    "PRODUCTS",
    "UNMEASURED",
    "Device",
    "Efficiencies",
    "Efficiency",
    "Instance",
    "Kind",
    "Range",
    "Rates",
    "Source",
    "cheapest",
    "clock_share",
    "efficiencies",
    "gpu",
    "gpus_by_driver",
    "here",
    "instances",
    "load",
    "load_all",
    "may_have_gpus",
    "measured",
    "names",
    "parse",
    "rated",
    "reached",
    "size_of",
    "taken_over",
    "user_prices",
    "with_memory",
]
