"""How a network is used: what one step of it does.

A Workload is data. It says whether a step is inference or training, what goes in, in which precision,
and by which rule the weights are updated. Frontends turn a network and a workload into a Program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from .dims import BITS, Shape
from .errors import UsageError, nearest
from .units import integer

Mode = Literal["inference", "training"]
LearningRule = Literal["sample", "batch", "epoch"]
Backend = Literal["cuda", "cpu"]
Precision = Literal["float32", "tf32", "float64", "bf16", "fp16", "amp-bf16", "amp-fp16"]
Implementation = Literal["auto", "single", "foreach", "fused"]
Checkpointing = Literal["none", "blocks"]
Layout = Literal["contiguous", "channels-last"]

RULES: tuple[LearningRule, ...] = get_args(LearningRule)
BACKENDS: tuple[Backend, ...] = get_args(Backend)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
IMPLEMENTATIONS: tuple[Implementation, ...] = get_args(Implementation)
CHECKPOINTINGS: tuple[Checkpointing, ...] = get_args(Checkpointing)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

DTYPE_OF: Mapping[Precision, str] = {"float64": "float64", "bf16": "bfloat16", "fp16": "float16"}
"""Precisions that are a dtype throughout: that of the parameters, of what goes in and of what is made."""

AUTOCAST: Mapping[Precision, str] = {"amp-bf16": "bfloat16", "amp-fp16": "float16"}
"""Automatic mixed precision: parameters stay as they are, and autocast runs some operators in this dtype."""

LARGEST_DIMENSION = 10**12
"""A size above this is a slip of the keyboard, not a layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input of a network: a shape *without* its batch axis, and a dtype (None: the workload's)."""

    shape: Shape
    dtype: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """As `--input` takes it: 'ids=128:int64'."""
        name = f"{self.name}=" if self.name else ""
        dtype = f":{self.dtype}" if self.dtype else ""
        return f"{name}{','.join(map(str, self.shape))}{dtype}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """An update rule by name, with its settings (`momentum`, `nesterov`, ...).

    Which names there are, what state each keeps and what an update costs is `ops/optimizers.py`'s.
    `implementation` is how PyTorch runs the update: parameter by parameter ('single'), operator by
    operator over lists of all parameters ('foreach'), or in one kernel ('fused'). 'auto' is what it runs
    when nothing is said: foreach on CUDA, single on the CPU.

    `make` is the user's own: from the parameters to a `torch.optim.Optimizer`. `name` is then what it is called.
    """

    name: str
    settings: Mapping[str, float | bool] = field(default_factory=dict)
    implementation: Implementation = "auto"
    make: Callable[..., object] | None = None

    def __post_init__(self) -> None:
        check_choice("implementation of optimizers", self.implementation, IMPLEMENTATIONS)

    @property
    def text(self) -> str:
        parts = [self.name]
        for key, value in self.settings.items():
            if value is True:
                parts.append(key)
            elif value:
                parts.append(f"{key} {value:g}")
        if self.implementation != "auto":
            parts.append(self.implementation)
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One step: `mode`, the `batch`, what goes in, the precision, and how weights are updated.

    `inputs` empty means that the frontend finds the shapes; a frontend returns the workload with
    the shapes that it used. `input_gradient` asks for the gradient of the inputs too, which a plain
    training step never computes. `loss` is 'auto' (cross-entropy where the output looks like logits,
    the mean elsewhere), 'cross-entropy' or 'mean', or the name of `own_loss`, a function of the user's: of
    the output, or of the output and targets.

    `accumulation` micro-steps of `batch` samples each go into one update: the step is then the last of
    them, in which the gradients of those before are there already. `trained` names the modules (dotted
    scopes) or parameters that are trained, everything else being frozen; empty, all are.

    `backend` says whose kernels run: how attention is computed and what it keeps, which mask dropout
    keeps, what autocast casts, how an optimizer updates by default.

    `precision` is a dtype throughout ('float32', 'bf16', 'fp16', 'float64': it and `dtype` say the same),
    'tf32' (float32 whose products run on tensor cores: other times, the same bytes), or automatic mixed
    precision ('amp-bf16', 'amp-fp16'), in which the parameters have `dtype` and `autocast` is the dtype that
    operators are cast to; float16 has its loss scaled.

    `checkpointing` 'blocks' asks what if every repeated block were checkpointed. `set_to_none` is how
    gradients are let go of before the next step: freed, or else filled with zeros and kept. `no_grad` is
    of inference: without it, what backward would need is kept until the outputs are let go of.
    `per_sample_gradients` keeps a gradient of each sample, not their sum.

    `layout` is how images lie in memory: 'contiguous' (NCHW) or 'channels-last' (NHWC), and `compiled` says
    whether `torch.compile` runs the step; on so many `threads` of a processor, as many as PyTorch takes where nothing is
    said. None of these changes what is counted; all change the time.
    """

    mode: Mode = "inference"
    batch: int = 1
    inputs: tuple[InputSpec, ...] = ()
    dtype: str = "float32"
    optimizer: Optimizer | None = None
    learning_rule: LearningRule = "batch"
    dataset: int | None = None
    input_gradient: bool = False
    loss: str = "auto"
    own_loss: Callable[..., object] | None = None
    accumulation: int = 1
    trained: tuple[str, ...] = ()
    backend: Backend = "cuda"
    precision: Precision = "float32"
    checkpointing: Checkpointing = "none"
    set_to_none: bool = True
    no_grad: bool = True
    per_sample_gradients: bool = False
    layout: Layout = "contiguous"
    compiled: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        check_dimension(self.batch, "the batch")
        check_dimension(self.accumulation, "the number of micro-steps in an update")
        if self.threads is not None:
            check_dimension(self.threads, "the number of threads")
        if self.dataset is not None:
            check_dimension(self.dataset, "the dataset")
        for spec in self.inputs:
            for size in spec.shape:
                check_dimension(size, f"the input shape {spec.shape}")
            if spec.dtype is not None:
                check_dtype(spec.dtype)
        check_dtype(self.dtype)
        check_choice("backend", self.backend, BACKENDS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("checkpointing", self.checkpointing, CHECKPOINTINGS)
        check_choice("layout", self.layout, LAYOUTS)
        self._settle_precision()
        self._check_mode()

    def _settle_precision(self) -> None:
        """Makes precision and dtype say the same where either says it.

        Raises:
            UsageError: they contradict each other.
        """
        dtype = DTYPE_OF.get(self.precision)
        if dtype is not None:
            if self.dtype not in ("float32", dtype):
                raise UsageError(
                    f"the precision {self.precision} is {dtype} throughout, and the dtype is {self.dtype}",
                    "leave one of them out",
                )
            object.__setattr__(self, "dtype", dtype)
        elif self.precision == "float32" and self.dtype in DTYPE_OF.values():
            same = next(name for name, each in DTYPE_OF.items() if each == self.dtype)
            object.__setattr__(self, "precision", same)

    def _check_mode(self) -> None:
        """Refuses what is for the other mode.

        Raises:
            UsageError: a setting of training in inference, or one of inference in training.
        """
        training = {
            "checkpointing": self.checkpointing != "none",
            "gradients that are kept": not self.set_to_none,
            "gradients of each sample": self.per_sample_gradients,
            "accumulated gradients": self.accumulation > 1,
            "only some modules trained": bool(self.trained),
        }
        for what, asked in training.items():
            if asked and not self.training:
                raise UsageError(
                    f"{what}: that is for training, and the step is inference",
                    "name an optimizer, as in --train sgd",
                )
        if self.per_sample_gradients and self.keeps_gradients:
            raise UsageError(
                "gradients of each sample are there for one step: they are not accumulated or kept",
                "leave one of the two out",
            )
        if self.training and not self.no_grad:
            raise UsageError("no_grad is for inference, and the step is training")

    @property
    def autocast(self) -> str | None:
        """The dtype that autocast runs operators in; None without automatic mixed precision."""
        return AUTOCAST.get(self.precision)

    @property
    def keeps_gradients(self) -> bool:
        """Whether a step finds gradients there: of the micro-steps before, or zeros of the step before."""
        return self.accumulation > 1 or not self.set_to_none

    @property
    def plain(self) -> Workload:
        """The same as data alone: functions of the user's by their names."""
        rule = self.optimizer
        return replace(
            self, own_loss=None, optimizer=None if rule is None else replace(rule, make=None)
        )

    @property
    def training(self) -> bool:
        return self.mode == "training"

    def trains(self, parameter: str) -> bool:
        """Whether the parameter of that dotted path is trained, as far as the workload says."""
        return not self.trained or any(within(parameter, scope) for scope in self.trained)

    def check_trained(self, parameters: Iterable[str]) -> None:
        """Refuses a choice of what is trained that names nothing in the network of these parameters.

        Raises:
            UsageError: no parameter lies in one of the scopes.
        """
        paths = tuple(parameters)
        scopes = {path.rpartition(".")[0] for path in paths} - {""}
        for scope in self.trained:
            if any(within(path, scope) for path in paths):
                continue
            near = nearest(scope, (*scopes, *paths))
            raise UsageError(
                f"only {scope!r} is to be trained, and the network has no such module with parameters",
                f"nearest: {', '.join(near)}" if near else "its modules: weigh NETWORK --tree",
            )


def within(path: str, scope: str) -> bool:
    """Whether a dotted path is the scope's own or lies under it."""
    return path == scope or path.startswith(f"{scope}.")


def check_dimension(size: int, where: str) -> None:
    """Refuses sizes that no tensor has.

    Raises:
        UsageError: the size is not a whole number from 1 to LARGEST_DIMENSION.
    """
    if isinstance(size, bool) or not isinstance(size, int):
        raise UsageError(f"{where} has {size!r}, which is not a whole number")
    if size < 1:
        raise UsageError(f"{where} has {size}, and a size is at least 1")
    if size > LARGEST_DIMENSION:
        raise UsageError(
            f"{where} has {integer(size)}, and the largest size taken is {integer(LARGEST_DIMENSION)}"
        )


def check_dtype(dtype: str) -> None:
    """Refuses dtypes that have no size.

    Raises:
        UsageError: no dtype has that name.
    """
    if dtype not in BITS:
        near = nearest(dtype, BITS)
        raise UsageError(
            f"no dtype is called {dtype!r}",
            f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(BITS)}",
        )


def check_choice(what: str, value: str, known: Sequence[str]) -> None:
    """Refuses a value that is none of those known.

    Raises:
        UsageError: it is none of them.
    """
    if value in known:
        return
    near = nearest(str(value), known)
    raise UsageError(
        f"no {what} is called {value!r}",
        *([f"nearest: {', '.join(near)}"] if near else []),
        f"there are: {', '.join(known)}",
    )


def refuse_own(workload: Workload, by: str) -> None:
    """Refuses a loss or an optimizer that the user wrote, for a way of reading networks without PyTorch.

    Raises:
        UsageError: there is one.
    """
    optimizer = workload.optimizer
    for name, value, own in (
        ("loss", workload.loss, workload.own_loss is not None),
        (
            "optimizer",
            "" if optimizer is None else optimizer.name,
            optimizer is not None and optimizer.make is not None,
        ),
    ):
        if own:
            raise UsageError(f"{name} {value} is not yet followed in {by}", "leave it out")
