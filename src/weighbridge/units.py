"""Numbers as text: the only place where a quantity becomes characters.

Three significant digits. Counts and rates are decimal (3.63 G), memory is binary (79.6 GiB). Inside
the project every quantity is unscaled: bytes, seconds, single operations.
"""

from __future__ import annotations

DECIMAL = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def scaled(value: int | float, prefixes: tuple[str, ...], base: int, exact_below: int) -> str:
    """`value` with three significant digits and the prefix that keeps it below `base`."""
    sign = "-" if value < 0 else ""
    size = abs(value)
    if size < exact_below and size == int(size):
        return f"{sign}{int(size)} {prefixes[0]}".rstrip()
    exponent = 0
    divisor = 1
    # 999.5 would print as 1000: it moves on to the next prefix.
    while exponent + 1 < len(prefixes) and size >= divisor * (base - 0.5 if base == 1000 else base):
        divisor *= base
        exponent += 1
    return f"{sign}{significant(size / divisor)} {prefixes[exponent]}".rstrip()


def significant(value: float, digits: int = 3) -> str:
    """`value` >= 0 in plain notation with `digits` significant digits; larger integers stay whole."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = int(f"{rounded:e}".partition("e")[2])
    return f"{rounded if exponent < digits else value:.{max(digits - 1 - exponent, 0)}f}"


def count(value: int | float) -> str:
    """A count, decimal: 1814073344 -> '1.81 G'."""
    return scaled(value, DECIMAL, 1000, 1000)


def integer(value: int) -> str:
    """A count in full, grouped: 25557032 -> '25,557,032'."""
    return f"{value:,}"


def memory(value: int | float) -> str:
    """Bytes, binary: 102228128 -> '97.5 MiB'."""
    return scaled(value, BINARY, 1024, 1024)


def macs(value: int) -> str:
    """Multiply-accumulates with their unit: '4.09 GMACs'."""
    return unit(value, "MACs")


def flops(value: int) -> str:
    """Floating-point operations with their unit: '8.18 GFLOPs'."""
    return unit(value, "FLOPs")


def unit(value: int | float, name: str) -> str:
    """A count with the unit behind its prefix: 1814073344, 'MACs' -> '1.81 GMACs'."""
    number, _, prefix = count(value).partition(" ")
    return f"{number} {prefix}{name}"


def percent(share: float) -> str:
    """A share of one as a percentage: 0.0289 -> '2.9 %'."""
    value = 100 * share
    if value and value < 0.1:
        return "<0.1 %"
    return f"{value:.1f} %"


def whole_percent(share: float) -> str:
    """A share of one in whole percent, for what is no better known: 0.614 -> '61 %'."""
    return f"{round(100 * share)} %" if share == 0 or share >= 0.005 else "<1 %"


def change(ratio: float) -> str:
    """How much more or less: 1.33 -> '+33 %', 0.34 -> '-66 %', 1 -> 'same'."""
    more = round(100 * (ratio - 1))
    return f"{more:+d} %" if more else "same"


def plural(number: int, word: str) -> str:
    """'1 operator', '175 operators'."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


MINUTE = 60
HOUR = 3600
DAY = 24 * HOUR

_DURATIONS = ((0, 1e-6, "us"), (1e-3, 1e-3, "ms"), (1, 1, "s"), (MINUTE, MINUTE, "min"),
              (HOUR, HOUR, "h"), (2 * DAY, DAY, "days"))  # fmt: skip
"""From how many seconds on a time is told in a unit, the unit's seconds, and its name."""


def duration(seconds: float) -> str:
    """A time: 0.0143 -> '14.3 ms', 90 -> '1.50 min', 86400 -> '24.0 h'."""
    rounded = float(f"{seconds:.2e}")  # 59.97 s is told as a minute, not as 60.0 s
    begin, size, name = next(entry for entry in reversed(_DURATIONS) if rounded >= entry[0])
    return f"{significant(max(seconds, begin) / size)} {name}"


def durations(low: float, high: float) -> str:
    """Between two times, the unit written once where it is the same: '60.4 to 84.6 ms'."""
    first, last = duration(low), duration(high)
    number, _, name = first.partition(" ")
    return f"{number if last.endswith(f' {name}') else first} to {last}"


def energy(joules: float) -> str:
    """Joules as electricity meters have them: 450 W for an hour, 1620000 -> '450 Wh'."""
    return unit(joules / HOUR, "Wh")


def money(value: float, currency: str) -> str:
    """A sum of money: '4.05 USD'."""
    return f"{significant(value)} {currency}"
