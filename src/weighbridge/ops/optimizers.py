"""Update rules: what state an optimizer keeps for a parameter, and what one update of it costs.

The lecture leaves this open (L7). Each rule is an operator that reads a parameter, its gradient and
its state and writes parameter and state in place, one operator a parameter tensor. Counts are an
element's, by the formula in the rule's row; step counts and other scalars are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from ..dims import Shape, product
from ..errors import UsageError, nearest
from ..program import Op, Tensor
from ..workload import Backend, Implementation, Optimizer
from .base import Cost, Operator, Scratch, register
from .kernel import FOREACH

Settings = Mapping[str, float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One tensor of optimizer state, kept for one parameter tensor."""

    name: str
    shape: Shape
    dtype: str


StateRule = Callable[[Shape, str, Settings], tuple[State, ...]]
"""(shape of the parameter, its dtype, settings) -> what is kept for it."""

CountRule = Callable[[int, Settings], Cost]
"""(elements, settings) -> the arithmetic of one update."""

ScratchRule = Callable[[Settings], tuple[int, int]]
"""settings -> copies of the parameter alive at once, and those still named while the next is updated."""

ListsRule = Callable[[Settings], int]
"""settings -> copies of every parameter alive at once, where the update goes operator by operator over all.

Rprop has a loop over parameters in its midst, whose copies of one at a time are left out.
"""


@final
class Update(Operator):
    """One update of one parameter by an optimizer's rule, in place.

    Shapes: parameter, gradient, state... -> parameter, state...
    Attributes: the optimizer's settings; `foreach`: it is one of all parameters' updates, which PyTorch runs
            operator by operator over lists, so that what it makes on the way lasts until all have run.
    Counts: a fixed number of operations an element, by the optimizer and its settings.
    """

    family = "optimizer"
    kernel_class = "update"

    def __init__(
        self,
        name: str,
        *,
        formula: str,
        source: str,
        states: StateRule,
        counts: CountRule,
        scratch: ScratchRule,
        lists: ListsRule,
        defaults: Settings | None = None,
    ) -> None:
        self.kind = f"{name}_update"
        self.formula = formula
        self.source = source
        self.states = states
        self.counts = counts
        self.copies = scratch
        self.lists = lists
        self.defaults: Settings = defaults or {}

    @property
    def summary(self) -> str:
        return f"{self.formula} ({self.source})"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[0].shape, *(tensor.shape for tensor in op.inputs[2:]))

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, *(tensor.dtype for tensor in op.inputs[2:]))

    def arithmetic(self, op: Op) -> Cost:
        return self.counts(op.inputs[0].elements, _settings(op))

    def scratch(self, op: Op, backend: Backend) -> Scratch:
        """Temporaries of PyTorch's update, of one parameter after the other or of all together."""
        size = op.inputs[0].bytes
        if op.flag(FOREACH):
            return Scratch(lasting=self.lists(_settings(op)) * size)
        running, lingering = self.copies(_settings(op))
        return Scratch(running=running * size, lingering=lingering * size)


@final
class FusedUpdate(Operator):
    """Updates of many parameters by an optimizer's rule in one kernel, in place and without temporaries.

    Shapes: parameters, gradients, states... -> parameters, gradients where `scaled`, states...
    Attributes: `parameters`: how many there are; `scaled`: gradients are divided by a loss scale first.
    Counts: as the rule counts one parameter of as many elements, and a multiplication an element more
            where gradients are scaled back.
    """

    family = "optimizer"
    kernel_class = "update"

    def __init__(self, rule: Update) -> None:
        self.kind = f"fused_{rule.kind}"
        self.rule = rule

    @property
    def summary(self) -> str:
        return f"{self.rule.formula}, all parameters in one kernel"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return tuple(tensor.shape for tensor in self._written(op))

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return tuple(tensor.dtype for tensor in self._written(op))

    def arithmetic(self, op: Op) -> Cost:
        parameters = op.inputs[: op.integer("parameters")]
        elements = sum(tensor.elements for tensor in parameters)
        return self.rule.counts(elements, _settings(op)) + _work(
            elements, mul=1 if op.flag("scaled") else 0
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # Parameters have nothing in common: sizes stay numbers.
        return tuple(tensor.shape for tensor in op.inputs)

    @staticmethod
    def _written(op: Op) -> tuple[Tensor, ...]:
        count = op.integer("parameters")
        first = count if op.flag("scaled") else 2 * count
        return (*op.inputs[:count], *op.inputs[first:])


@final
class Unscale(Operator):
    """Gradients scaled back in place after a loss that was scaled up, all of them in one kernel.

    Shapes: gradients..., found_inf, inverse scale -> gradients..., found_inf
    Counts: a multiplication an element, and a comparison: is it finite?
    Source: PyTorch's `_amp_foreach_non_finite_check_and_unscale_`.
    """

    kind = "unscale"
    family = "optimizer"
    kernel_class = "update"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return tuple(tensor.shape for tensor in op.inputs[:-1])

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return tuple(tensor.dtype for tensor in op.inputs[:-1])

    def arithmetic(self, op: Op) -> Cost:
        elements = sum(tensor.elements for tensor in op.inputs[:-2])
        return _work(elements, mul=1, cmp=1)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # Parameters have nothing in common: sizes stay numbers.
        return tuple(tensor.shape for tensor in op.inputs)


def _settings(op: Op) -> Settings:
    return {k: v for k, v in op.attributes.items() if isinstance(v, int | float | bool)}


def _copies(*names: str) -> StateRule:
    """As many full copies of the parameter as there are names."""

    def states(shape: Shape, dtype: str, settings: Settings) -> tuple[State, ...]:
        return tuple(State(name=name, shape=shape, dtype=dtype) for name in names)

    return states


def _sgd_states(shape: Shape, dtype: str, settings: Settings) -> tuple[State, ...]:
    return _copies("momentum_buffer")(shape, dtype, settings) if settings.get("momentum") else ()


def _adam_states(shape: Shape, dtype: str, settings: Settings) -> tuple[State, ...]:
    names = ["exp_avg", "exp_avg_sq"] + (["max_exp_avg_sq"] if settings.get("amsgrad") else [])
    return _copies(*names)(shape, dtype, settings)


def _rmsprop_states(shape: Shape, dtype: str, settings: Settings) -> tuple[State, ...]:
    names = ["square_avg"]
    names += ["momentum_buffer"] if settings.get("momentum") else []
    names += ["grad_avg"] if settings.get("centered") else []
    return _copies(*names)(shape, dtype, settings)


def _adafactor_states(shape: Shape, dtype: str, settings: Settings) -> tuple[State, ...]:
    """A matrix keeps one number a row and one a column; a vector keeps one an element."""
    if len(shape) < 2:
        return _copies("variance")(shape, dtype, settings)
    return (
        State(name="row_variance", shape=(*shape[:-1], 1), dtype=dtype),
        State(name="column_variance", shape=(*shape[:-2], 1, shape[-1]), dtype=dtype),
    )


QUANTISED_FROM = 4096
QUANTISED_BLOCK = 256


def _adam8bit_states(shape: Shape, dtype: str, settings: Settings) -> tuple[State, ...]:
    """Two states of a byte an element and a float32 scale a block of 256; small tensors stay float32."""
    elements = product(shape)
    if elements < QUANTISED_FROM:
        return _copies("exp_avg", "exp_avg_sq")(shape, "float32", settings)
    blocks = (-(-elements // QUANTISED_BLOCK),)
    return (
        State(name="exp_avg", shape=shape, dtype="uint8"),
        State(name="exp_avg_scale", shape=blocks, dtype="float32"),
        State(name="exp_avg_sq", shape=shape, dtype="uint8"),
        State(name="exp_avg_sq_scale", shape=blocks, dtype="float32"),
    )


def _work(n: int, *, mul: int = 0, add: int = 0, cmp: int = 0, div: int = 0, root: int = 0) -> Cost:
    return Cost(
        multiplications=n * mul,
        additions=n * add,
        comparisons=n * cmp,
        divisions=n * div,
        transcendentals=n * root,
    )


def _decay(n: int, settings: Settings) -> Cost:
    """g + decay * p, where weight decay is set."""
    return _work(n, mul=1, add=1) if settings.get("weight_decay") else Cost()


def _decoupled_decay(n: int, settings: Settings) -> Cost:
    """p * (1 - rate * decay), where weight decay is set."""
    return _work(n, mul=1) if settings.get("weight_decay") else Cost()


def _sgd(n: int, settings: Settings) -> Cost:
    cost = _work(n, mul=1, add=1) + _decay(n, settings)  # p - rate * g
    if settings.get("momentum") and not settings.get("is_first_step"):  # which copies the gradient
        cost += _work(n, mul=1, add=1)  # m * b + g
        if settings.get("dampening"):
            cost += _work(n, mul=1)
    if settings.get("nesterov"):
        cost += _work(n, mul=1, add=1)  # g + m * b
    return cost


def _adagrad(n: int, settings: Settings) -> Cost:
    # s + g*g; sqrt(s) + eps; p - rate * g / that
    return _work(n, mul=2, add=3, div=1, root=1) + _decay(n, settings)


def _rmsprop(n: int, settings: Settings) -> Cost:
    # a * v + (1-a) * g * g; sqrt(v) + eps; p - rate * g / that
    cost = _work(n, mul=4, add=3, div=1, root=1) + _decay(n, settings)
    if settings.get("momentum"):
        cost += _work(n, mul=1, add=1)  # m * b + g / that
    if settings.get("centered"):
        cost += _work(n, mul=3, add=3)  # a + (1-a) * (g - a); v - a*a
    return cost


def _adam(n: int, settings: Settings) -> Cost:
    # m + (1-b1) * (g - m); b2 * v + (1-b2) * g * g; sqrt(v) / c + eps; p - rate * m / that
    # AMSGrad: the largest v so far in its place
    return _work(n, mul=5, add=5, cmp=1 if settings.get("amsgrad") else 0, div=2, root=1)


def _adafactor(n: int, settings: Settings) -> Cost:
    # g*g, its row and column sums; outer product of the two; 1/sqrt; g * that; its root mean square;
    # clipped; p * (1 - rate * decay) - rate * that. Work a row or a column is left out.
    return _work(n, mul=5, add=4, div=1, root=1) + _decoupled_decay(n, settings)


def _lion(n: int, settings: Settings) -> Cost:
    # sign(b1 * m + (1-b1) * g); p - rate * that; b2 * m + (1-b2) * g
    return _work(n, mul=5, add=3, cmp=1) + _decoupled_decay(n, settings)


def _adadelta(n: int, settings: Settings) -> Cost:
    # s = a s + (1-a) g*g; sqrt(s + e); sqrt(d + e) / that * g; d = a d + (1-a) of its square; p - rate * that
    return _work(n, mul=8, add=5, div=1, root=2) + _decay(n, settings)


def _adamax(n: int, settings: Settings) -> Cost:
    # m + (1-b1) * (g - m); max(b2 * u, |g| + eps); p - rate * m / u
    return _work(n, mul=3, add=4, cmp=1, div=1) + _decay(n, settings)


def _nadam(n: int, settings: Settings) -> Cost:
    # Adam's moments; sqrt(v / c) + eps; p less a multiple of g / that and one of m / that
    return _work(n, mul=6, add=6, div=3, root=1) + _decay(n, settings)


def _radam(n: int, settings: Settings) -> Cost:
    # Adam's moments; m / c; sqrt(v) + eps, its reciprocal scaled; three factors of the update; p less that
    return _work(n, mul=9, add=5, div=2, root=1) + _decay(n, settings)


def _rprop(n: int, settings: Settings) -> Cost:
    # g times g before, compared with 0 in three ways; the size times eta, clamped at both ends; g is dropped
    # where the sign has turned; p less the sign of g by the size
    return _work(n, mul=4, add=1, cmp=6)


def _asgd(n: int, settings: Settings) -> Cost:
    # p * (1 - decay * rate); p - rate * g; the average is a copy until averaging starts
    return _work(n, mul=2, add=1) + _decay(n, settings)


def _decayed(settings: Settings) -> int:
    """Whether g + decay * p is a tensor of its own."""
    return 1 if settings.get("weight_decay") else 0


def _sgd_scratch(settings: Settings) -> tuple[int, int]:
    """The gradient with weight decay, the gradient with Nesterov's momentum."""
    return _decayed(settings) + (1 if settings.get("nesterov") else 0), 0


def _root_scratch(settings: Settings) -> tuple[int, int]:
    """The square root, which its variable names until the next one is there."""
    return 1 + _decayed(settings), 1


def _adam8bit(n: int, settings: Settings) -> Cost:
    # Adam; each of two states is scaled up (a multiplication), its block's maximum found (a comparison),
    # scaled down (a division) and placed among 256 levels (8 comparisons)
    return _adam(n, settings) + _work(n, mul=2, cmp=18, div=2) + _decay(n, settings)


UPDATES: Mapping[str, Update] = {
    "sgd": Update(
        "sgd", formula="p - rate * g; with momentum b = m * b + g in place of g",
        source="Robbins and Monro 1951; Polyak 1964", states=_sgd_states, counts=_sgd,
        scratch=_sgd_scratch,
        lists=_decayed,
    ),
    "adagrad": Update(
        "adagrad", formula="s + g^2; p - rate * g / (sqrt s + eps)",
        source="Duchi et al. 2011", states=_copies("sum"), counts=_adagrad,
        scratch=_root_scratch,
        lists=lambda settings: 2,  # the root, the gradient times the rate; with decay the gradient is freed first,
    ),
    "rmsprop": Update(
        "rmsprop", formula="v = a v + (1-a) g^2; p - rate * g / (sqrt v + eps)",
        source="Tieleman and Hinton 2012", states=_rmsprop_states, counts=_rmsprop,
        scratch=_root_scratch,
        lists=lambda settings: 1 + _decayed(settings),  # the root; the gradient with decay,
    ),
    "adam": Update(
        "adam", formula="first and second moment; p - rate * m / (sqrt v + eps)",
        source="Kingma and Ba 2015, Algorithm 1", states=_adam_states,
        counts=lambda n, settings: _adam(n, settings) + _decay(n, settings),
        scratch=lambda settings: (2 + _decayed(settings), 1),  # the root; the root over its correction
        lists=lambda settings: 1,  # the root, written over; the gradient with decay is freed before it,
    ),
    "adamw": Update(
        "adamw", formula="Adam with decoupled weight decay",
        source="Loshchilov and Hutter 2019, Algorithm 2", states=_adam_states,
        counts=lambda n, settings: _adam(n, settings) + _decoupled_decay(n, settings),
        scratch=lambda settings: (2, 1),  # as Adam; the decay is in place
        defaults={"weight_decay": 0.01},
        lists=lambda settings: 1,
    ),
    "nadam": Update(
        "nadam", formula="Adam whose first moment looks one step ahead, as Nesterov's does",
        source="Dozat 2016", states=_copies("exp_avg", "exp_avg_sq"), counts=_nadam,
        scratch=lambda settings: (2 + _decayed(settings), 1),  # v over its correction; the root of that
        lists=lambda settings: 1 + _decayed(settings),
    ),
    "radam": Update(
        "radam", formula="Adam, its rate rectified by how well the second moment is known",
        source="Liu et al. 2020, Algorithm 2", states=_copies("exp_avg", "exp_avg_sq"), counts=_radam,
        # the corrected moment, that times the rate; the root, its reciprocal, that scaled
        scratch=lambda settings: (5 + _decayed(settings), 1),
        lists=lambda settings: 1,
    ),
    "adamax": Update(
        "adamax", formula="u = max(b u, |g|); p - rate * m / u",
        source="Kingma and Ba 2015, Algorithm 2", states=_copies("exp_avg", "exp_inf"), counts=_adamax,
        scratch=lambda settings: (1 + _decayed(settings), 0),  # the gradient's size
        lists=lambda settings: 1,
    ),
    "adadelta": Update(
        "adadelta", formula="p - rate * g * sqrt(d + eps) / sqrt(s + eps)",
        source="Zeiler 2012, Algorithm 1", states=_copies("square_avg", "acc_delta"), counts=_adadelta,
        scratch=lambda settings: (2 + _decayed(settings), 2),  # both roots, named until the next ones
        lists=lambda settings: 2 + _decayed(settings),
    ),
    "rprop": Update(
        "rprop", formula="each element's own step grows while its gradient keeps its sign",
        source="Riedmiller and Braun 1993", states=_copies("prev", "step_size"), counts=_rprop,
        scratch=lambda settings: (3, 2),  # the signs, a copy of the gradient; its sign
        lists=lambda settings: 1,
    ),
    "asgd": Update(
        "asgd", formula="SGD, and an average of the parameters",
        source="Polyak and Juditsky 1992", states=_copies("ax"), counts=_asgd,
        scratch=lambda settings: (_decayed(settings), 0),
        lists=lambda settings: 1,
    ),
    "adafactor": Update(
        "adafactor", formula="Adam's second moment as row and column sums, no first moment",
        source="Shazeer and Stern 2018, Algorithm 4", states=_adafactor_states, counts=_adafactor,
        scratch=lambda settings: (1, 1),  # the second moment, written over into the update
        lists=lambda settings: 1,
    ),
    "lion": Update(
        "lion", formula="p - rate * sign(b1 m + (1-b1) g); m = b2 m + (1-b2) g",
        source="Chen et al. 2023, Algorithm 2", states=_copies("exp_avg"), counts=_lion,
        scratch=lambda settings: (1, 0),  # the interpolation whose sign is taken
        lists=lambda settings: 0,
    ),
    "adam8bit": Update(
        "adam8bit", formula="Adam with its moments in 8 bits, a scale a block of 256",
        source="Dettmers et al. 2022", states=_adam8bit_states, counts=_adam8bit,
        scratch=lambda settings: (0, 0),  # one kernel, block by block
        lists=lambda settings: 0,
    ),
}  # fmt: skip

SYNONYMS: Mapping[str, Optimizer] = {
    "momentum": Optimizer(name="sgd", settings={"momentum": 0.9}),
    "nesterov": Optimizer(name="sgd", settings={"momentum": 0.9, "nesterov": True}),
}
"""Names that users know for an update rule with settings."""


def optimizer(name: str, **settings: float | bool) -> Optimizer:
    """An optimizer by the name that a user types, its defaults filled in.

    Raises:
        UsageError: there is no such optimizer, or it has no such setting.
    """
    known = (*UPDATES, *SYNONYMS)
    key = name.lower()
    if key in ("lbfgs", "sparseadam"):
        raise UsageError(
            f"{name} is not one update a step: what it does depends on values",
            f"there are: {', '.join(known)}",
        )
    if key not in known:
        near = nearest(name, known)
        raise UsageError(
            f"no optimizer is called {name!r}",
            *([f"nearest: {', '.join(near)}"] if near else []),
            f"there are: {', '.join(known)}",
        )
    base = SYNONYMS.get(key) or Optimizer(name=key, settings=UPDATES[key].defaults)
    for setting, value in settings.items():
        if (
            value
            and setting in ("momentum", "nesterov", "dampening")
            and base.name not in (("sgd", "rmsprop") if setting == "momentum" else ("sgd",))
        ):
            raise UsageError(
                f"{name} has no {setting}",
                "momentum is for sgd and rmsprop, nesterov and dampening for sgd",
            )
    chosen = Optimizer(name=base.name, settings={**base.settings, **settings})
    if chosen.settings.get("nesterov") and not chosen.settings.get("momentum"):
        raise UsageError("nesterov needs a momentum", "try --momentum 0.9")
    return chosen


def implementation(chosen: Optimizer, backend: Backend) -> Implementation:
    """How the updates run: as was asked for, or as PyTorch chooses on the backend.

    Raises:
        UsageError: there is no such optimizer, or PyTorch does not run it so.
    """
    if chosen.name not in UPDATES:
        raise UsageError(f"no optimizer is called {chosen.name!r}")
    asked = chosen.implementation
    if chosen.name in NOT_PYTORCHS:
        if asked in ("auto", "single"):
            return "single"
        raise UsageError(
            f"PyTorch has no {chosen.name}: it is updated parameter by parameter, "
            f"and {asked} was asked for",
            "leave the implementation out",
        )
    if asked == "fused" and chosen.name not in FUSED:
        raise UsageError(f"PyTorch has no fused {chosen.name}", f"it has fused: {', '.join(FUSED)}")
    if asked == "auto":
        return "foreach" if backend == "cuda" else "single"
    return asked


def optimizer_states(
    chosen: Optimizer, shape: Shape, dtype: str = "float32", how: Implementation = "single"
) -> tuple[State, ...]:
    """What the optimizer keeps on the device for one parameter of this shape.

    How often a parameter was updated is counted on the host, but for fused kernels, which read it.
    """
    states = UPDATES[chosen.name].states(shape, dtype, chosen.settings)
    if how == "fused" and chosen.name != "sgd":
        return (*states, State(name=STEP, shape=(), dtype="float32"))
    return states


def update(
    chosen: Optimizer,
    parameter: Tensor,
    gradient: Tensor,
    states: tuple[Tensor, ...],
    how: Implementation = "single",
) -> Op:
    """The update of one parameter as one operator, in the scope of the module that holds it."""
    kind = f"{chosen.name}_update"
    return Op(
        kind=kind,
        name=kind,
        scope=_owner(parameter),
        phase="update",
        inputs=(parameter, gradient, *states),
        outputs=(parameter, *states),
        attributes={**chosen.settings, **({FOREACH: True} if how == "foreach" else {})},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A parameter to be updated: its gradient, and the optimizer's state for it."""

    parameter: Tensor
    gradient: Tensor
    states: tuple[Tensor, ...]


def updates(chosen: Optimizer, trained: Sequence[Trained], how: Implementation) -> tuple[Op, ...]:
    """The updates of parameters: an operator each, or one of all in one kernel, after their steps are counted."""
    if how != "fused":
        return tuple(
            update(chosen, one.parameter, one.gradient, one.states, how) for one in trained
        )
    counted = chosen.name != "sgd"
    held = [one.states[:-1] if counted else one.states for one in trained]
    counts = tuple(
        Op(
            kind="add",
            name="add_",
            scope=_owner(one.parameter),
            phase="update",
            inputs=one.states[-1:],
            outputs=one.states[-1:],
        )
        for one in trained
        if counted
    )
    parameters = tuple(one.parameter for one in trained)
    states = tuple(state for group in zip(*held, strict=True) for state in group)
    kind = f"fused_{chosen.name}_update"
    kernel = Op(
        kind=kind,
        name=kind,
        scope="",
        phase="update",
        inputs=(*parameters, *(one.gradient for one in trained), *states),
        outputs=(*parameters, *states),
        attributes={**chosen.settings, "parameters": len(parameters)},
    )
    return (*counts, kernel)


def _owner(parameter: Tensor) -> str:
    return (parameter.name or "").rpartition(".")[0]


STEP = "step"

FUSED = ("sgd", "adagrad", "adam", "adamw")
"""Rules that PyTorch has in one kernel too."""

NOT_PYTORCHS = ("lion", "adam8bit")
"""Rules that `torch.optim` has not."""

register(Unscale(), *UPDATES.values(), *(FusedUpdate(UPDATES[name]) for name in FUSED))
