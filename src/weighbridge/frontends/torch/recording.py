"""Recording: every operator that passes PyTorch's dispatcher, as an operator of a Program.

This is the hot path: a network runs tens of thousands of operators, so that what can be known of an
operator before it runs is looked up once, and a tensor seen before is found by a key, not described
again. A tensor is a view of a storage: the key is the storage, and the form in which it is seen, which is
the shape, the dtype, the offset and the strides. What is known of a storage's tensors goes with it.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import compress
from math import prod
from typing import Any

import torch
from torch import Tensor as Values
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from ...dims import bytes_of
from ...ops.kernel import FOREACH
from ...program import Attributes, Op, Phase, Role, Storage, Tensor
from ...units import memory
from .answers import Answer, Answers
from .scopes import Scopes
from .translation import Handling, Translation, results_of, tensors_in, translation_of

DTYPE_NAMES: dict[torch.dtype, str] = {
    dtype: name
    for name in dir(torch)
    if isinstance(dtype := getattr(torch, name), torch.dtype) and str(dtype) == f"torch.{name}"
}
"""PyTorch's dtypes by the names that the project uses, which are PyTorch's own."""

_KEPT: frozenset[Role] = frozenset({"parameter", "buffer", "input", "optimizer_state"})
"""What stays the same tensor when it is written in place: it is there before and after the step."""

_ONE_DTYPE = frozenset({"matmul", "convolution"})
"""Kinds whose first two operands must be of one dtype."""

_ONE_BY_ONE = torch._C.DispatchKey.CompositeExplicitAutograd
"""The kernel of an operator over lists that runs it tensor by tensor."""

_COMPILER = "torch._dynamo"
"""PyTorch's compiler, which kernels on meta and checkpoints load when they are first called."""

_READS_A_VALUE = torch.ops.aten._local_scalar_dense.default

Form = tuple[torch.Size, torch.dtype, int | torch.SymInt, tuple[int, ...]]


class MemoryLimitError(Exception):
    """A step on real data grew larger than it may."""


def _kept(results: object, kept: Iterable[bool]) -> Iterable[object]:
    """The results that count, of an operator that returns several."""
    assert isinstance(results, tuple)
    return compress(results, kept)


class _Watch(weakref.ref[torch.UntypedStorage]):
    """A storage that lives: which one it is, and the tensors seen in it by their forms. Tells when it is freed.

    Most storages are seen in one form only, `form`, as `tensor`; a table for each would take more than all else.
    """

    __slots__ = ("address", "form", "id", "others", "tensor")
    address: int
    id: int
    form: Form | None
    tensor: Tensor | None
    others: dict[Form, Tensor] | None

    def known(self, form: Form) -> Tensor | None:
        if self.form == form:
            return self.tensor
        return None if self.others is None else self.others.get(form)

    def knows(self, form: Form, tensor: Tensor | None) -> None:
        """From now on the storage is this tensor in that form, or none that is known."""
        if self.form is None or self.form == form:
            self.form, self.tensor = form, tensor
            return
        if self.others is None:
            self.others = {}
        if tensor is None:
            self.others.pop(form, None)
        else:
            self.others[form] = tensor

    @property
    def tensors(self) -> Iterator[Tensor]:
        if self.tensor is not None:
            yield self.tensor
        if self.others is not None:
            yield from self.others.values()


def _form(values: Values) -> Form:
    return values.shape, values.dtype, values.storage_offset(), values.stride()


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down the operators that run while it is entered.

    `phase` says which part of the step runs now; operators of autograd's are backward in any case.
    `home` is the device that the network lives on: what happens elsewhere is none of its own. With a
    `limit`, tensors that together hold more bytes than that stop the run. `answer` runs an operator.
    """

    def __init__(
        self,
        scopes: Scopes,
        *,
        home: str = "meta",
        limit: int | None = None,
        answer: Answer | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._answer = answer or Answers().of
        self.scopes = scopes
        self.home = home
        self.limit = limit
        self._live = 0
        self._host: set[int] = set()
        self.phase: Phase = "forward"
        self.ops: list[Op] = []
        self._failure: tuple[Exception, OpOverload] | None = None
        self._muted = 0
        self._stepping = False
        self._list_begins: int | None = None
        self._shapes: dict[
            tuple[int, ...], tuple[int, ...]
        ] = {}  # each once: networks repeat themselves
        self._ids = 0
        self._watches: dict[int, _Watch] = {}
        # Weakly: with each watch holding this recorder, and it them, all would live until a collection.
        self._on_free = partial(_freed, weakref.ref(self))
        self._sizes: list[int] = []
        self._births: list[int] = []
        self._deaths: dict[int, int] = {}
        self._roles: list[Role] = []
        self._owners: dict[int, str] = {}
        self._owner = ""
        self._compiler = _COMPILER in sys.modules

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would wrap every call to hide it from its compiler, and load that to do so."""
        return False

    # -- operators -------------------------------------------------------------------------------

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Runs the operator, then writes it down; of tensors that are made of others, what runs on those."""
        if types and any(hasattr(kind, "__tensor_flatten__") for kind in types):
            return NotImplemented
        how = translation_of(func)
        if types or not how.builtin:
            return self._run(func, how, types, args, kwargs or {})
        # PyTorch's kernels on meta are Python, and none of their calls is one of the network's.
        with torch._C.DisableTorchFunction():
            return self._run(func, how, types, args, kwargs or {})

    def _run(
        self,
        func: OpOverload,
        how: Translation,
        types: Sequence[type],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        if how.handling is Handling.SPREAD:
            self._list_begins = len(self.ops)
            try:
                with self:  # which lists it takes is seen by its parts
                    return func._op_dk(_ONE_BY_ONE, *args, **kwargs)
            finally:
                self._list_begins = None
        try:
            if self._stepping:
                result = self._step_operator(func, how, types, args, kwargs)
            else:
                result = self._answer(func, types, args, kwargs)
        except Exception as error:
            self._failure = (error, func)
            raise
        if not self._compiler and _COMPILER in sys.modules:
            self._let_go_of_frames()
        if not self._muted and not (self._stepping and func is _READS_A_VALUE):
            self._record(how, args, kwargs, result)
        return result

    def _let_go_of_frames(self) -> None:
        """Collects once, when PyTorch has loaded its compiler in the middle of the step.

        `torch.fx.wrap` leaves a cycle that holds the frame of whoever imports it, and through that every frame above:
        the local variables of the network would live until the end.
        """
        spec = sys.modules[_COMPILER].__spec__
        if spec is None or not getattr(spec, "_initializing", False):
            self._compiler = True
            gc.collect()

    def _step_operator(
        self,
        func: OpOverload,
        how: Translation,
        types: Sequence[type],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        """What an operator of an optimizer's step returns: itself where it is written in place."""
        first = tensors_in(args[:1])
        if not first or not first[0].is_meta:
            return self._answer(func, types, args, kwargs)
        if func is _READS_A_VALUE:
            return 1.0
        if how.in_place:
            return args[0] if how.written is None else None
        return self._answer(func, types, args, kwargs)

    def _record(
        self, how: Translation, args: tuple[Any, ...], kwargs: dict[str, Any], result: object
    ) -> None:
        if how.handling is Handling.IGNORED:
            return
        results = how.results_in(args, kwargs, result)
        made = tensors_in((results,))
        known = made or tensors_in(args)
        if known and (
            not (known[0].is_meta if self.home == "meta" else known[0].device.type == self.home)
            or (self._host and known[0].untyped_storage()._cdata in self._host)
        ):
            return  # counters and the like that live on the host: nothing of the network's
        if how.handling is Handling.ALLOCATES:
            role, _ = self._default_roles(torch._C._current_autograd_node())
            for tensor in made:
                self._made(tensor, role)
            return
        kind, operands, attributes, kept = how.read(args, kwargs)
        if kind in _ONE_DTYPE and operands[0].dtype != operands[1].dtype:
            # On meta PyTorch lets pass what it refuses everywhere else.
            raise TypeError(
                f"{how.name} of {DTYPE_NAMES[operands[0].dtype]} and {DTYPE_NAMES[operands[1].dtype]}"
            )
        self.emit(
            kind,
            operands,
            made if kept is None else tensors_in(_kept(results, kept)),
            attributes,
            name=how.name,
            results=how.results if kind == how.kind else results_of(kind),
            in_place=how.in_place,
        )

    def emit(
        self,
        kind: str,
        operands: Sequence[Values],
        made: Sequence[Values],
        attributes: Attributes,
        *,
        name: str,
        results: int = 1,
        in_place: bool = False,
    ) -> None:
        """Appends one operator. The first `results` of what it made are what a layer hands on."""
        if self._list_begins not in (None, len(self.ops)):
            attributes = {**attributes, FOREACH: True}
        node = torch._C._current_autograd_node()
        phase: Phase = self.phase if node is None else "backward"
        inputs = tuple([self.tensor(tensor) for tensor in operands])
        if phase == "update":
            scope = self._updated(inputs)
        elif node is None or self.scopes.running:
            scope = self.scopes.current
        else:  # nodes that add up gradients have the highest number, and belong to the network
            scope = self.scopes.of_node(node._sequence_nr())
        first, rest = self._default_roles(node)
        outputs = [
            self._made(tensor, first if index < results else rest, anew=in_place)
            for index, tensor in enumerate(made)
        ]
        if phase == "update":
            for tensor in outputs:
                self._owners.setdefault(tensor.storage, scope)
        self.ops.append(
            Op(
                kind=kind,
                name=name,
                scope=scope,
                phase=phase,
                inputs=inputs,
                outputs=tuple(outputs),
                attributes=attributes,
            )
        )

    def _updated(self, inputs: Iterable[Tensor]) -> str:
        """The module whose parameter is being updated: temporaries belong to the last one seen.

        What updates parameters of several modules at once belongs to the network.
        """
        owners = {self._owners[t.storage] for t in inputs if t.storage in self._owners}
        if owners:
            self._owner = owners.pop() if len(owners) == 1 else ""
        return self._owner

    def _default_roles(self, node: object) -> tuple[Role, Role]:
        """What an operator's results are that a layer hands on, and what the others are.

        `node` is autograd's that runs, if one does.
        """
        if self.phase == "update":
            return "temporary", "temporary"
        recomputed = node is not None and self.scopes.running
        if (node is not None or self.phase == "backward") and not recomputed:
            return "activation_gradient", "activation_gradient"
        return "activation", "saved"

    def failed_in(self, error: BaseException) -> OpOverload | None:
        """The operator that raised the exception, or one that it follows from."""
        seen: BaseException | None = error
        while seen is not None:
            if self._failure is not None and seen is self._failure[0]:
                return self._failure[1]
            seen = seen.__cause__ or seen.__context__
        return None

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """For an optimizer's step, which is PyTorch's code and known not to depend on values.

        What it asks of a tensor (Adafactor scales by norms) is answered with one, and what it writes in
        place, whose shape cannot change, is written down without being run.
        """
        self._stepping = True
        try:
            yield
        finally:
            self._stepping = False

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Lets operators run without writing them down."""
        self._muted += 1
        try:
            yield
        finally:
            self._muted -= 1

    # -- tensors ---------------------------------------------------------------------------------

    def tensor(self, values: Values) -> Tensor:
        """The record of a tensor that an operator reads."""
        # What nobody made while we watched was there before: a constant of the user's.
        return self._describe(values, self._watched(values), birth=-1, role="buffer")

    def _made(self, values: Values, role: Role, *, anew: bool = False) -> Tensor:
        """The record of a tensor that the next operator makes; `anew` where it was written over."""
        watch = self._watched(values)
        if anew and watch is not None and self._roles[watch.id] not in _KEPT:
            watch.knows(_form(values), None)
        return self._describe(values, watch, birth=len(self.ops), role=role)

    def declare(
        self,
        values: Values,
        role: Role,
        *,
        name: str,
        trainable: bool = False,
        owner: str | None = None,
    ) -> Tensor:
        """A tensor with a name, there before the step begins; `owner` is the module updated with it."""
        watch = self._watched(values)
        known = None if watch is None else watch.known(_form(values))
        if known is not None:
            return known
        tensor = self._describe(values, watch, birth=-1, role=role, name=name, trainable=trainable)
        if owner is not None:
            self._owners[tensor.storage] = owner
        return tensor

    def declare_state(self, shape: tuple[int, ...], dtype: str, *, name: str) -> Tensor:
        """Optimizer state that PyTorch does not hold, there before and after the step."""
        self._sizes.append(bytes_of(prod(shape), dtype))
        self._births.append(-1)
        self._roles.append("optimizer_state")
        self._ids += 1
        return Tensor(
            id=self._ids - 1,
            shape=shape,
            dtype=dtype,
            role="optimizer_state",
            storage=len(self._sizes) - 1,
            name=name,
        )

    def knows(self, values: Values) -> bool:
        """Whether the tensor's storage was seen in this step."""
        return self._watched(values) is not None

    def leave_to_host(self, values: Values) -> None:
        """Says that a tensor is a counter of the host's, also where the network lives there."""
        self._host.add(values.untyped_storage()._cdata)

    def own(self, values: Values, owner: str) -> None:
        """Says to which module's parameter a tensor belongs while that is updated."""
        self._owners[self.tensor(values).storage] = owner

    def _describe(
        self,
        values: Values,
        watch: _Watch | None,
        *,
        birth: int,
        role: Role,
        name: str | None = None,
        trainable: bool = False,
    ) -> Tensor:
        if watch is None:
            watch = self._watch(values, birth, role)
        form = _form(values)
        known = watch.known(form)
        if known is not None:
            return known
        shape = self._shapes.get(form[0])
        if shape is None:
            shape = tuple(form[0])
            self._shapes[shape] = shape
        tensor = Tensor(
            id=self._ids,
            shape=shape,
            dtype=DTYPE_NAMES[form[1]],
            role=self._roles[watch.id],
            storage=watch.id,
            name=name,
            trainable=trainable,
        )
        self._ids += 1
        watch.knows(form, tensor)
        return tensor

    # -- storages --------------------------------------------------------------------------------

    def storage(self, values: Values) -> int | None:
        """The id of the tensor's storage, None where it was not seen before."""
        watch = self._watched(values)
        return None if watch is None else watch.id

    def _watched(self, values: Values) -> _Watch | None:
        return self._watches.get(values.untyped_storage()._cdata)

    def _watch(self, values: Values, birth: int, role: Role) -> _Watch:
        storage = values.untyped_storage()
        watch = _Watch(storage, self._on_free)
        watch.address, watch.id = storage._cdata, len(self._sizes)
        watch.form = watch.tensor = watch.others = None
        self._watches[watch.address] = watch
        self._sizes.append(storage.nbytes())
        self._births.append(birth)
        self._roles.append(role)
        self._live += storage.nbytes()
        if self.limit is not None and self._live > self.limit:
            raise MemoryLimitError(
                f"its tensors take {memory(self._live)}, more than {memory(self.limit)}"
            )
        return watch

    def _free(self, watch: _Watch) -> None:
        del self._watches[watch.address]
        self._live -= self._sizes[watch.id]
        self._deaths[watch.id] = len(self.ops) - 1

    # -- the end ---------------------------------------------------------------------------------

    def becomes(self, storages: frozenset[int], role: Role) -> None:
        """Gives storages another role, in every operator: what turned out to be a gradient."""
        for storage in storages:
            self._roles[storage] = role
        # Nobody holds the records but this recorder, yet: copies of all that name them would take their time.
        for op in self.ops:
            for tensor in (*op.inputs, *op.outputs):
                if tensor.storage in storages:
                    object.__setattr__(tensor, "role", role)
        for watch in self._watches.values():
            if watch.id in storages:
                for tensor in watch.tensors:
                    object.__setattr__(tensor, "role", role)

    def storages(self) -> tuple[Storage, ...]:
        """Every storage seen, with the operators between which it lived."""
        return tuple(
            Storage(id=id, bytes=size, birth=birth, death=self._deaths.get(id))
            for id, (size, birth) in enumerate(zip(self._sizes, self._births, strict=True))
        )


def _freed(recorder: weakref.ref[Recorder], watch: weakref.ref[torch.UntypedStorage]) -> None:
    """Tells the recorder, if it is still there."""
    assert isinstance(watch, _Watch)
    there = recorder()
    if there is not None:
        there._free(watch)
