"""Settings: what a user asks for by keyword, checked and made a Workload.

The keywords of :func:`weighbridge.weigh` and of its sisters are those of :class:`Settings`; the options of the
command are the same ones. What makes no sense is refused here, before a network is touched.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import index
from typing import SupportsIndex, TypedDict, TypeGuard

from .errors import UsageError
from .ops import optimizers
from .workload import (
    RULES,
    Backend,
    Checkpointing,
    Implementation,
    InputSpec,
    Layout,
    LearningRule,
    Optimizer,
    Precision,
    Workload,
    check_choice,
)

Shaped = int | str | Sequence[int] | InputSpec
"""A shape without the batch axis: (3, 224, 224), '3,224,224', a length, or an InputSpec."""

Nested = object
"""Arguments of forward as it takes them: tensors, shapes, and mappings and sequences of these."""

Inputs = Shaped | Sequence[Shaped] | Mapping[str, Shaped] | Nested
"""One shape, several in the order in which the network takes them, or by name; or nested arguments."""

LOSSES = ("auto", "cross-entropy", "mean")


class Settings(TypedDict, total=False):
    """How a network is used: the keywords, each with what it is when left out.

    batch: samples in a step. [1]
    train: an optimizer's name, for a training step; 'file.py:make' or a function of your own, from the
        parameters to a torch.optim.Optimizer. [inference]
    momentum, nesterov, weight_decay: the optimizer's settings. [its defaults]
    implementation: of the optimizer: 'single', 'foreach' or 'fused'. [as PyTorch on the backend]
    accumulate: micro-steps that go into one update. [1]
    trained: dotted names of the modules or parameters that are trained, the others being frozen. [all]
    loss: 'auto', 'cross-entropy' or 'mean'; 'file.py:loss' or a function of your own, of the output, or of the
        output and targets. ['auto': cross-entropy of what looks like logits, else mean]
    checkpointing: 'blocks': what if every repeated block were checkpointed. ['none']
    set_to_none: whether gradients are freed before the next step, or filled with zeros. [True]
    per_sample_gradients: whether the gradient of each sample is kept, not their sum. [False]
    input_gradient: whether training wants the gradient of the inputs too. [False]
    no_grad: whether inference is without autograd. [True]
    dtype: of the parameters and the inputs. [the network's own; float32]
    precision: 'float32', 'tf32', 'float64', 'bf16', 'fp16', 'amp-bf16' or 'amp-fp16'. [the dtype's]
    backend: whose kernels run, 'cuda' or 'cpu'. ['cuda']
    learning_rule: update after every 'sample', 'batch' or 'epoch'. ['batch']
    dataset: samples in the data set, for the learning rules. [none]
    layout: how images lie in memory, 'contiguous' or 'channels-last'. ['contiguous']
    compiled: whether torch.compile runs the step. [False]
    threads: of a processor that was calibrated. [as many as PyTorch takes]
    """

    batch: int
    train: str | Callable[..., object] | None
    momentum: float | None
    nesterov: bool
    weight_decay: float | None
    implementation: Implementation
    accumulate: int
    trained: Sequence[str]
    loss: str | Callable[..., object]
    checkpointing: Checkpointing
    set_to_none: bool
    per_sample_gradients: bool
    input_gradient: bool
    no_grad: bool
    dtype: str
    precision: Precision
    backend: Backend
    learning_rule: LearningRule
    dataset: int | None
    layout: Layout
    compiled: bool
    threads: int | None


def workload(inputs: Inputs | None, settings: Settings) -> Workload:
    """The workload that the keywords ask for.

    Raises:
        UsageError: there is no such setting, or they make no sense together.
    """
    for name in settings:
        check_choice("setting", name, tuple(Settings.__annotations__))
    rule = settings.get("learning_rule", "batch")
    check_choice("learning rule", rule, RULES)
    loss, own_loss = _loss(settings.get("loss", "auto"))
    optimizer = _optimizer(settings)
    asked = Workload(
        mode="inference" if optimizer is None else "training",
        batch=settings.get("batch", 1),
        inputs=_inputs(inputs),
        dtype=settings.get("dtype", "float32"),
        optimizer=optimizer,
        learning_rule=rule,
        dataset=settings.get("dataset"),
        input_gradient=settings.get("input_gradient", False),
        loss=loss,
        own_loss=own_loss,
        accumulation=settings.get("accumulate", 1),
        trained=tuple(settings.get("trained", ())),
        backend=settings.get("backend", "cuda"),
        precision=settings.get("precision", "float32"),
        checkpointing=settings.get("checkpointing", "none"),
        set_to_none=settings.get("set_to_none", True),
        no_grad=settings.get("no_grad", True),
        per_sample_gradients=settings.get("per_sample_gradients", False),
        layout=settings.get("layout", "contiguous"),
        compiled=settings.get("compiled", False),
        threads=settings.get("threads"),
    )
    if asked.autocast is not None and asked.dtype != "float32":
        raise UsageError(
            f"the precision {asked.precision} keeps parameters in float32, and the dtype is {asked.dtype}",
            "leave one of them out",
        )
    return asked


def _loss(asked: str | Callable[..., object]) -> tuple[str, Callable[..., object] | None]:
    """What the loss is called, and the function that it is where it is the user's.

    Raises:
        UsageError: there is no such loss.
    """
    own = _function(asked)
    if own is not None:
        return _called(asked), own
    assert isinstance(asked, str)
    check_choice("loss", asked, LOSSES)
    return asked, None


def _function(asked: object) -> Callable[..., object] | None:
    """A function of the user's: itself, or by its file, which is run."""
    if isinstance(asked, str):
        from .frontends import python_file

        return python_file.function(asked) if python_file.is_python_file(asked) else None
    if callable(asked):
        return asked
    raise UsageError(
        f"a {type(asked).__name__} is no loss and no optimizer",
        "give a name, a function, or 'file.py:function'",
    )


def _called(asked: object) -> str:
    return asked if isinstance(asked, str) else getattr(asked, "__name__", type(asked).__name__)


def _optimizer(settings: Settings) -> Optimizer | None:
    """The optimizer with the settings that were given; None for inference.

    Raises:
        UsageError: there is no such optimizer, or it has settings and no name.
    """
    given: dict[str, float | bool] = {}
    if (momentum := settings.get("momentum")) is not None:
        given["momentum"] = momentum
    if settings.get("nesterov"):
        given["nesterov"] = True
    if (decay := settings.get("weight_decay")) is not None:
        given["weight_decay"] = decay
    name, implementation = settings.get("train"), settings.get("implementation", "auto")
    if name is None:
        named = [*given, *(["implementation"] if implementation != "auto" else [])]
        if named:
            raise UsageError(
                f"{' and '.join(named)} without an optimizer", "name one, as in --train sgd"
            )
        return None
    make = _function(name)
    if make is not None:
        named = [*given, *(["implementation"] if implementation != "auto" else [])]
        if named:
            raise UsageError(
                f"{' and '.join(named)} with an optimizer of your own",
                "give it where you make that",
            )
        return Optimizer(name=_called(name), make=make)
    assert isinstance(name, str)
    return replace(optimizers.optimizer(name, **given), implementation=implementation)


def read_input(text: str) -> InputSpec:
    """An input as it is typed: '3,224,224' or '3x224x224', 'ids=512', 'image=3,224,224:float16'.

    '()' is no size but the batch: one number a sample. A dotted name is an input inside another:
    'batch.mask=16,1' in a mapping, 'images.0=3,224,224' in a list.

    Raises:
        UsageError: a size is not a whole number above zero, or there is no such dtype.
    """
    name, _, rest = text.rpartition("=")
    sizes, _, dtype = rest.partition(":")
    shape: list[int] = []
    words = re.split(r",|(?<=\d)\s*[x×]\s*(?=\d)", sizes)
    for word in [] if sizes.strip() == "()" else words:
        try:
            shape.append(int(word))
        except ValueError:
            raise UsageError(
                f"the input {text!r} has {word.strip()!r}, which is not a whole number",
                "an input is its sizes without the batch, such as 3,224,224, "
                "with a name or a dtype if need be: ids=512:int64",
            ) from None
    return InputSpec(shape=tuple(shape), dtype=dtype.strip() or None, name=name.strip() or None)


def examples(inputs: object) -> Mapping[str, object] | tuple[object, ...] | None:
    """The arguments of forward, where `inputs` are those and not plain shapes; shapes in them as such."""
    if _is_tensor(inputs):
        return (inputs,)
    if isinstance(inputs, Mapping):
        nested = any(not _is_shape(value) for value in inputs.values())
        return {name: _leaves(value) for name, value in inputs.items()} if nested else None
    if isinstance(inputs, Sequence) and not isinstance(inputs, str) and not _is_shape(inputs):
        nested = any(not _is_shape(value) for value in inputs)
        return tuple(_leaves(value) for value in inputs) if nested else None
    return None


def _leaves(value: object) -> object:
    """Nested arguments with their shapes as InputSpec; what is neither stays as it is."""
    if isinstance(value, list | tuple) and value and _is_shape(value):
        return _input(value)
    if isinstance(value, dict):
        return {key: _leaves(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_leaves(entry) for entry in value)
    return value


def _is_shape(value: object) -> bool:
    """Whether this is the shape of one tensor: sizes, their text, or an InputSpec."""
    if isinstance(value, str | InputSpec):
        return True
    if isinstance(value, Sequence):
        return all(isinstance(size, SupportsIndex) and not _is_tensor(size) for size in value)
    return isinstance(value, SupportsIndex) and not _is_tensor(value)


def _inputs(inputs: Inputs | None) -> tuple[InputSpec, ...]:
    if inputs is None:
        return ()
    if isinstance(inputs, Mapping):
        return tuple(replace(_input(shape), name=name) for name, shape in inputs.items())
    return tuple(map(_input, inputs)) if _several(inputs) else (_input(inputs),)


def _several(inputs: object) -> TypeGuard[Sequence[object]]:
    """Whether these are shapes, and not the sizes of one."""
    if isinstance(inputs, str) or not isinstance(inputs, Sequence):
        return False
    return any(isinstance(entry, Sequence | InputSpec) for entry in inputs)


def _input(shape: object) -> InputSpec:
    if _is_tensor(shape):
        raise UsageError(
            "an example tensor was given for a network that goes by its name",
            "give a shape without the batch axis, such as (3, 224, 224), or the module itself",
        )
    if isinstance(shape, InputSpec):
        return shape
    if isinstance(shape, str):
        return read_input(shape)
    if isinstance(shape, SupportsIndex):
        return InputSpec(shape=(index(shape),))
    if isinstance(shape, Sequence):
        sizes = (index(size) if isinstance(size, SupportsIndex) else size for size in shape)
        return InputSpec(shape=tuple(sizes))
    raise UsageError(
        f"an input of type {type(shape).__name__} is not a shape",
        "give the sizes without the batch, such as (3, 224, 224)",
    )


def _is_tensor(value: object) -> bool:
    """Whether this is a PyTorch tensor; without importing PyTorch, which whoever has one has done."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
