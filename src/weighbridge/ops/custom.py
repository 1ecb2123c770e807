"""Rules of one's own: what an operator costs that no rule here knows, said in one function.

    @weighbridge.rule("mylib::selective_scan")
    def selective_scan(op):
        batch, channels, length = op.inputs[0].shape
        return {"macs": 2 * batch * channels * length * op.attributes["states"]}

The function is given the operator as it ran and returns its counts. An operator that runs backward is an
operator of its own, with a rule of its own: give it one under its own name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TypeVar, final

from ..dims import Formula, Shape
from ..errors import UsageError, WeighError, nearest
from ..program import Op
from .base import Cost, Operator, register, rule_of, rules, spellings, unregister

Counting = Callable[[Op], Cost | Mapping[str, int]]
"""From the operator as it ran to what it costs."""

Function = TypeVar("Function", bound=Counting)

COUNTS = tuple(entry.name for entry in fields(Cost))

_EVERY_RESULT = 1000  # more than an operator returns: all of them are what a layer hands on


@final
class CustomRule(Operator):
    """An operator counted by a function of the user's.

    Shapes: as recorded.
    Counts: as the function says. Bytes are each operand read once and each result written once, unless it
            says those too.
    """

    family = "custom"
    results = _EVERY_RESULT

    def __init__(self, name: str, counting: Counting) -> None:
        self.kind = kind_of(name)
        self.name = name
        self.counting = counting

    @property
    def summary(self) -> str:
        text = (self.counting.__doc__ or "").strip().partition("\n")[0]
        return text or f"By {self.place}."

    @property
    def place(self) -> str:
        """The function's name and the line of its file."""
        code = getattr(self.counting, "__code__", None)
        name = getattr(self.counting, "__qualname__", type(self.counting).__name__)
        return f"{name} at {code.co_filename}:{code.co_firstlineno}" if code else name

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return tuple(tensor.shape for tensor in op.outputs)

    def arithmetic(self, op: Op) -> Cost:
        return self._counted(op)[0]

    def traffic(self, op: Op) -> tuple[int, int]:
        return self._counted(op)[1]

    def formulas(self, op: Op) -> Mapping[str, Formula]:
        """None: the function is asked for numbers."""
        return {}

    def _counted(self, op: Op) -> tuple[Cost, tuple[int, int]]:
        """The arithmetic and the bytes.

        Raises:
            WeighError: the function raised, or returned what is no cost.
        """
        try:
            found = self.counting(op)
        except Exception as error:
            shapes = ", ".join(str(tensor.shape) for tensor in op.inputs)
            raise WeighError(
                f"the rule for {self.name} failed on inputs {shapes}: {type(error).__name__}: {error}",
                self.place,
            ) from error
        read, write = super().traffic(op)
        if isinstance(found, Cost):
            told = found.read_bytes or found.write_bytes
            return found, (found.read_bytes, found.write_bytes) if told else (read, write)
        counts = self._checked(found)
        bytes_moved = (counts.pop("read_bytes", read), counts.pop("write_bytes", write))
        macs = counts.get("macs", 0)
        # A multiply-accumulate is a multiplication and an addition, where nothing else is said.
        return Cost(**{"multiplications": macs, "additions": macs, **counts}), bytes_moved

    def _checked(self, found: object) -> dict[str, int]:
        if not isinstance(found, Mapping):
            raise WeighError(
                f"the rule for {self.name} returned {found!r}",
                "it should return a weighbridge.Cost, or counts by name: {'macs': 1000}",
                self.place,
            )
        for key, value in found.items():
            if key not in COUNTS:
                near = nearest(str(key), COUNTS)
                raise WeighError(
                    f"the rule for {self.name} counts {key!r}, and no count is called so",
                    *([f"nearest: {', '.join(near)}"] if near else []),
                    f"there are: {', '.join(COUNTS)}",
                    self.place,
                )
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise WeighError(
                    f"the rule for {self.name} counts {value!r} {key}",
                    "a count is a whole number from 0",
                    self.place,
                )
        return dict(found)


def kind_of(name: str) -> str:
    """The kind under which an operator without a rule is recorded: 'mylib::scan' -> 'mylib.scan'.

    Raises:
        UsageError: the name is not of that form.
    """
    namespace, colons, plain = name.partition("::")
    if not (colons and namespace.isidentifier() and plain.isidentifier()):
        raise UsageError(
            f"{name!r} is no operator's name",
            "it should be the library's and the operator's, as torch.library has them: "
            "'mylib::selective_scan'",
        )
    return f"{namespace}.{plain}"


def rule(name: str) -> Callable[[Function], Function]:
    """Enters the decorated function as the rule for an operator: 'mylib::selective_scan'.

    The function takes the operator as it ran (`op.inputs` and `op.outputs` with their `shape`, `dtype`,
    `elements` and `bytes`; `op.attributes` with its other arguments by name) and returns a
    `weighbridge.Cost`, or a mapping from its fields to whole numbers: `macs`, `multiplications`, `additions`,
    `comparisons`, `divisions`, `transcendentals`, `read_bytes`, `write_bytes`. In a mapping `macs` alone are as
    many multiplications and additions; bytes that are not named are each operand's and result's once.

    Running the same definition again, as reloading a module does, takes the place of the first. An operator
    of PyTorch's own that is counted already keeps its rule.

    Raises:
        UsageError: the name is no operator's, or the operator has a rule already.
    """
    if not isinstance(name, str):
        raise UsageError(
            "@weighbridge.rule without an operator's name",
            "name it: @weighbridge.rule('mylib::selective_scan')",
        )
    kind = kind_of(name)

    def enter(function: Function) -> Function:
        known = rule_of(kind)
        if isinstance(known, CustomRule) and _same_definition(known.counting, function):
            unregister(kind)
        elif isinstance(known, CustomRule):
            raise UsageError(
                f"there is a rule for {name} already: {known.place}",
                f"take it out first: weighbridge.forget_rule({name!r})",
            )
        register(CustomRule(name, function))
        return function

    namespace, _, plain = name.partition("::")
    if namespace == "aten" and plain in spellings("aten"):
        raise UsageError(
            f"{name} has a rule already: it is counted as {spellings('aten')[plain]!r}",
            "give your own operator a name of its own",
        )
    return enter


def forget_rule(name: str) -> None:
    """Takes out a rule that :func:`rule` entered.

    Raises:
        UsageError: there is no such rule.
    """
    kind = kind_of(name)
    if not isinstance(rule_of(kind), CustomRule):
        own = [entry.name for entry in rules() if isinstance(entry, CustomRule)]
        raise UsageError(
            f"there is no rule for {name} to take out",
            f"there are: {', '.join(own)}" if own else "no rule was entered",
        )
    unregister(kind)


def _same_definition(one: Counting, other: Counting) -> bool:
    def where(function: Counting) -> tuple[object, ...]:
        return getattr(function, "__module__", None), getattr(function, "__qualname__", function)

    return where(one) == where(other)
