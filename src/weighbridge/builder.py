"""Building a Program from operators: shapes follow from the rules, backward from theirs.

A :class:`Builder` writes operators one after the other, in the scope of the module that is open. From
the loss it then walks back: every operator's rule emits its own backward operators, gradients that
meet are added, and each trainable parameter is updated by the optimizer's rule. The result is one step,
as a framework would run it, without a framework.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from .accumulation import as_the_loop_has_it
from .dims import Shape
from .errors import ShapeError
from .ops import optimizers, rule_of
from .program import (
    Attributes,
    AttributeValue,
    Module,
    Op,
    Phase,
    Program,
    Role,
    Storage,
    Tensor,
    with_lifetimes,
)
from .workload import Workload, refuse_own


class Builder:
    """Writes a Program. Open modules with :meth:`module`, run operators with :meth:`op`.

    Shapes include the batch axis. A tensor is trainable when a trainable parameter (or an input whose
    gradient is wanted) lies upstream of it.
    """

    def __init__(self, workload: Workload) -> None:
        refuse_own(workload, "described networks")
        self.workload = workload
        self._ops: list[Op] = []
        self._storages: list[Storage] = []
        self._modules: dict[str, Module] = {}
        self._parameters: list[Tensor] = []
        self._buffers: list[Tensor] = []
        self._aliases: dict[str, str] = {}
        self._inputs: list[Tensor] = []
        self._scope = ""
        self._calls: list[tuple[int, int]] = []
        self._held: list[tuple[int, int]] = []
        self._casts: dict[int, Tensor] = {}
        """Low-precision copies of parameters, by those: autocast makes each once."""
        self._idle = False
        self._phase: Phase = "forward"
        self._ids = 0
        self._differentiable: set[int] = set()
        self._reached: set[int] = set()
        """The tensors that have a gradient."""

    # -- tensors ---------------------------------------------------------------------------------

    def _tensor(
        self,
        shape: Shape,
        dtype: str,
        role: Role,
        *,
        storage: int | None = None,
        name: str | None = None,
        trainable: bool = False,
    ) -> Tensor:
        tensor = Tensor(
            id=self._ids,
            shape=shape,
            dtype=dtype,
            role=role,
            storage=len(self._storages) if storage is None else storage,
            name=name,
            trainable=trainable,
        )
        self._ids += 1
        if storage is None:
            self._storages.append(Storage(id=tensor.storage, bytes=tensor.bytes))
        if trainable:
            self._differentiable.add(tensor.id)
        return tensor

    def input(self, shape: Shape, *, dtype: str | None = None, name: str = "input") -> Tensor:
        """An input of the network, batch axis included."""
        dtype = dtype or self.workload.dtype
        wants_gradient = self.workload.input_gradient and dtype.startswith(("float", "bfloat"))
        tensor = self._tensor(shape, dtype, "input", name=name, trainable=wants_gradient)
        self._inputs.append(tensor)
        return tensor

    def parameter(self, name: str, shape: Shape, *, trainable: bool = True) -> Tensor:
        """A parameter of the open module, trainable as far as the workload trains it."""
        path = self._path(name)
        tensor = self._tensor(
            shape,
            self.workload.dtype,
            "parameter",
            name=path,
            trainable=trainable and self.workload.trains(path),
        )
        self._parameters.append(tensor)
        return tensor

    def buffer(self, name: str, shape: Shape, *, dtype: str | None = None) -> Tensor:
        """State of the open module that is not trained."""
        tensor = self._tensor(shape, dtype or self.workload.dtype, "buffer", name=self._path(name))
        self._buffers.append(tensor)
        return tensor

    def alias(self, name: str, tensor: Tensor) -> Tensor:
        """A further name, in the open module, of a parameter that another module holds already."""
        self._aliases[self._path(name)] = tensor.name or ""
        return tensor

    # -- modules ---------------------------------------------------------------------------------

    @contextmanager
    def module(self, name: str, kind: str, detail: str = "") -> Iterator[None]:
        """Opens a module below the one that is open; operators inside carry its path."""
        outer = self._scope
        self._scope = self._path(name)
        self._modules.setdefault(self._scope, Module(scope=self._scope, kind=kind, detail=detail))
        first = len(self._ops)
        try:
            yield
        finally:
            self._scope = outer
            if len(self._ops) > first:
                self._calls.append((first, len(self._ops) - 1))

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Modules opened inside belong to the network but do not run under this workload.

        Their parameters and buffers are held; their operators are worked out for the shapes only.
        """
        self._idle = True
        try:
            yield
        finally:
            self._idle = False

    @contextmanager
    def holding(self, tensor: Tensor) -> Iterator[None]:
        """Says that a variable of the network's own code names the tensor until the block ends."""
        yield
        self._held.append((tensor.storage, len(self._ops) - 1))

    @property
    def scope(self) -> str:
        """The dotted path of the open module."""
        return self._scope

    @property
    def _with_graph(self) -> bool:
        """Whether autograd notes on the way what a backward would need."""
        return self.workload.training or not self.workload.no_grad

    def _path(self, name: str) -> str:
        return f"{self._scope}.{name}" if self._scope else name

    # -- operators -------------------------------------------------------------------------------

    def op(self, kind: str, *inputs: Tensor, **attributes: AttributeValue) -> tuple[Tensor, ...]:
        """Runs one operator and returns its outputs.

        Raises:
            ShapeError: the inputs do not fit; the message names the module and the shapes.
        """
        return self._run(kind, inputs, attributes, in_place=False)

    def in_place(
        self, kind: str, *inputs: Tensor, **attributes: AttributeValue
    ) -> tuple[Tensor, ...]:
        """Runs one operator that writes its first output over its first input.

        Where backward reads what that was it takes memory all the same, as in PyTorch, which copies it first.

        Raises:
            ShapeError: the inputs do not fit; the message names the module and the shapes.
        """
        return self._run(kind, inputs, attributes, in_place=True)

    def operands(self, kind: str, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors in the dtype in which an operator of that kind takes them: cast where autocast does.

        An operator's operands are cast in any case; this is for what is cast before a view is taken of it.
        """
        lower = self.workload.autocast
        rule = rule_of(kind)
        policy = None if rule is None else rule.autocast(self.workload.backend)
        if lower is None or policy is None or self._phase != "forward":
            return tensors
        dtype = lower if policy == "lower" else "float32"
        if policy == "widest" and all(tensor.dtype != "float32" for tensor in tensors):
            dtype = lower
        return tuple(self._cast(tensor, dtype) for tensor in tensors)

    def _cast(self, tensor: Tensor, dtype: str) -> Tensor:
        """The tensor in another dtype; of a trainable parameter the one copy that lasts until forward is over."""
        if tensor.dtype == dtype or tensor.dtype not in ("float32", "float16", "bfloat16"):
            return tensor
        if tensor.id in self._casts:
            return self._casts[tensor.id]
        (cast,) = self.op("clone", tensor, dtype=dtype)
        if tensor.role == "parameter" and tensor.trainable and not self._idle:
            self._casts[tensor.id] = cast
        return cast

    def _run(
        self, kind: str, inputs: tuple[Tensor, ...], attributes: Attributes, *, in_place: bool
    ) -> tuple[Tensor, ...]:
        rule = rule_of(kind)
        if rule is None:
            raise KeyError(f"no operator {kind!r}")
        if "dtype" not in attributes:  # autocast leaves alone what is asked for
            inputs = self.operands(kind, *inputs)
        draft = Op(
            kind=kind,
            name=kind,
            scope=self._scope,
            phase=self._phase,
            inputs=inputs,
            outputs=(),
            attributes=attributes,
        )
        try:
            shapes = rule.shapes(draft)
        except ShapeError as error:
            given = ", ".join(str(tensor.shape) for tensor in inputs[:1])
            where = f"{self._scope or 'the network'} ({kind})"
            raise ShapeError(
                f"{where} does not take an input of shape {given}", error.message
            ) from error
        differentiable = self._phase == "forward" and any(
            tensor.id in self._differentiable for tensor in inputs
        )
        in_place = in_place and (rule.overwrites or not (differentiable and self._with_graph))
        role: Role = "activation" if self._phase == "forward" else "activation_gradient"
        outputs = []
        for index, (shape, dtype) in enumerate(zip(shapes, rule.dtypes(draft), strict=True)):
            shares = rule.view or (in_place and index == 0)
            shared = inputs[0].storage if shares and inputs else None
            if self._idle:
                shared = _NOWHERE
            outputs.append(
                self._tensor(
                    shape,
                    dtype,
                    role if index < rule.results or self._phase != "forward" else "saved",
                    storage=shared,
                )
            )
        if differentiable:
            self._differentiable.update(
                tensor.id
                for tensor in outputs[: rule.results]
                if tensor.dtype not in ("int64", "bool")
            )
        if self._idle:
            return tuple(outputs)
        self._ops.append(
            Op(
                kind=kind,
                name=f"{kind}_" if in_place else kind,
                scope=self._scope,
                phase=self._phase,
                inputs=inputs,
                outputs=tuple(outputs),
                attributes=attributes,
            )
        )
        return tuple(outputs)

    # -- a step ----------------------------------------------------------------------------------

    def loss(
        self,
        outputs: tuple[Tensor, ...],
        weights: tuple[float, ...] = (),
        *,
        usual: str = "auto",
    ) -> Tensor:
        """The loss of the workload over the network's outputs; several are weighted and added.

        Without `weights` each weighs 1; an output that weighs 0 takes no part.
        `usual` is what the workload's 'auto' means for this network, as for one whose outputs look
        like logits and are not. Cross-entropy takes logits (B, classes), or (B, T, classes) folded
        to (B*T, classes).
        """
        chosen = usual if self.workload.loss == "auto" else self.workload.loss
        with self.module("loss", "Loss", chosen):
            losses = []
            for output, weight in zip(outputs, weights or (1,) * len(outputs), strict=True):
                if weight:
                    one = self._one_loss(output, chosen)
                    losses.append(one if weight == 1 else self.op("mul", one)[0])
            result = losses[0]
            for further in losses[1:]:
                (result,) = self.op("add", result, further)
        return result

    def _scaled(self, loss: Tensor, scale: Tensor) -> Tensor:
        """The loss times the scale that keeps small gradients from vanishing in float16."""
        with self.module("loss", "Loss"):
            return self.op("mul", loss, scale)[0]

    def _unscaled(self, gradients: Iterable[Tensor]) -> None:
        """Emits what scales the gradients back, of all parameters at once, in place."""
        gradients = tuple(gradients)
        found, inverse = (
            self._tensor((), "float32", "buffer", name=name)
            for name in ("found_inf", "inverse_scale")
        )
        self._ops.append(
            Op(
                kind="unscale",
                name="unscale_",
                scope="",
                phase="update",
                inputs=(*gradients, found, inverse),
                outputs=(*gradients, found),
            )
        )

    def _one_loss(self, output: Tensor, chosen: str) -> Tensor:
        shape = output.shape
        if chosen == "mean" or len(shape) < 2:
            return self.op("mean", output)[0]
        if len(shape) == 3:
            (output,) = self.op("reshape", output, shape=(shape[0] * shape[1], shape[2]))
        targets = self._tensor(
            (output.shape[0], *output.shape[2:]), "int64", "input", name="targets"
        )
        self._inputs.append(targets)
        # PyTorch's cross-entropy asks for the logits' own dtype, which on CUDA keeps autocast from widening them
        # before their logarithm (LossNLL.cpp); the CPU's autocast lists cross-entropy whole.
        asked = self.workload.autocast is not None and self.workload.backend == "cuda"
        own: dict[str, AttributeValue] = {"dtype": output.dtype} if asked else {}
        (scores,) = self.op("log_softmax", output, axis=1, **own)
        return self.op("nll_loss", scores, targets)[0]

    def backward(self, loss: Tensor) -> dict[int, Tensor]:
        """Emits the backward pass of `loss` and returns the gradient of each parameter, by tensor id."""
        forward = tuple(self._ops)
        self._phase = "backward"
        self._scope = "loss"
        (seed,) = self.op("fill", shape=(), dtype=loss.dtype)
        gradients: dict[int, Tensor] = {loss.id: seed}
        with self.holding(seed):
            self._walk_back(forward, gradients)
        self._reached.update(gradients)
        self._scope = ""
        return {
            parameter.id: gradients[parameter.id]
            for parameter in self._parameters
            if parameter.id in gradients
        }

    def _held_by_graph(self, outputs: Iterable[Tensor]) -> frozenset[int]:
        """The storages that a backward from the outputs would read and that never runs: autograd keeps them.

        In inference none runs, in training none of what the loss does not depend on. It is emitted to see what
        its operators read, and taken back.
        """
        unread = tuple(
            op
            for op in self._ops
            if op.phase == "forward" and not any(t.id in self._reached for t in op.outputs)
        )
        ops, storages, calls = len(self._ops), len(self._storages), len(self._calls)
        self._phase = "backward"
        gradients = {
            output.id: self._tensor(output.shape, output.dtype, "activation_gradient")
            for output in outputs
            if output.id in self._differentiable - self._reached
        }
        self._walk_back(unread, gradients)
        read = {tensor.storage for op in self._ops[ops:] for tensor in op.inputs}
        del self._ops[ops:], self._storages[storages:], self._calls[calls:]
        return frozenset(storage for storage in read if storage < storages)

    def _walk_back(self, forward: tuple[Op, ...], gradients: dict[int, Tensor]) -> None:
        """Emits what each operator's rule says of backward, and adds to the gradients by tensor id.

        As autograd does it: what a rule reads is free when all of the rule has run, before gradients that
        meet are added; and a leaf's gradient that goes elsewhere too is copied, not shared.
        """
        for op in reversed(forward):
            if not any(tensor.id in gradients for tensor in op.outputs):
                continue
            wanted = tuple(tensor.id in self._differentiable for tensor in op.inputs)
            if not any(wanted):
                continue
            self._scope = op.scope
            incoming = tuple(gradients.get(tensor.id) for tensor in op.outputs)
            rule = rule_of(op.kind)
            assert rule is not None
            first = len(self._ops)
            made = rule.backward(op, incoming, wanted, self.op)
            if len(self._ops) > first:
                self._calls.append((first, len(self._ops) - 1))
            handed = [
                (tensor, gradient)
                for tensor, want, gradient in zip(op.inputs, wanted, made, strict=True)
                if want and gradient is not None
            ]
            for tensor, given in handed:
                gradient = given
                if gradient.dtype != tensor.dtype:
                    (gradient,) = self.op("clone", gradient, dtype=tensor.dtype)
                earlier = gradients.get(tensor.id)
                if earlier is not None:
                    (gradient,) = self.op("add", earlier, gradient)
                elif tensor.role in _LEAVES and (
                    gradient is given and sum(other is given for _, other in handed) > 1
                ):
                    (gradient,) = self.op("clone", gradient)
                gradients[tensor.id] = gradient

    def _as_gradients(self, gradients: dict[int, Tensor]) -> dict[int, Tensor]:
        """Gives what turned out to be a parameter's gradient that role, wherever it stands."""
        final = {tensor.id: replace(tensor, role="gradient") for tensor in gradients.values()}
        self._ops = [
            replace(
                op,
                inputs=tuple(final.get(tensor.id, tensor) for tensor in op.inputs),
                outputs=tuple(final.get(tensor.id, tensor) for tensor in op.outputs),
            )
            if op.phase == "backward"
            and any(tensor.id in final for tensor in (*op.inputs, *op.outputs))
            else op
            for op in self._ops
        ]
        return {key: final[tensor.id] for key, tensor in gradients.items()}

    def update(self, gradients: dict[int, Tensor]) -> None:
        """Emits the optimizer's update of every parameter that has a gradient, scaled back where it was scaled."""
        chosen = self.workload.optimizer
        self._phase = "update"
        if gradients and self.workload.autocast == "float16":
            self._unscaled(gradients.values())
        if chosen is None:
            return
        how = optimizers.implementation(chosen, self.workload.backend)
        trained = [
            optimizers.Trained(
                parameter=parameter,
                gradient=gradients[parameter.id],
                states=tuple(
                    self._tensor(
                        state.shape,
                        state.dtype,
                        "optimizer_state",
                        name=f"{parameter.name}.{state.name}",
                    )
                    for state in optimizers.optimizer_states(
                        chosen, parameter.shape, parameter.dtype, how
                    )
                ),
            )
            for parameter in self._parameters
            if parameter.id in gradients
        ]
        if trained:
            self._ops += optimizers.updates(chosen, trained, how)

    def build(
        self,
        *,
        network: str,
        source: str,
        frontend: str,
        outputs: tuple[Tensor, ...],
        loss_weights: tuple[float, ...] = (),
        loss: str = "auto",
        warnings: tuple[str, ...] = (),
    ) -> Program:
        """Ends the network at `outputs` and, where the workload trains, adds backward and update.

        `loss` is what the workload's loss 'auto' means for this network.
        """
        region = len(self._ops) - 1  # the last operator under autocast
        kept = {tensor.storage for tensor in outputs}
        if self.workload.training:
            self.workload.check_trained(p.name or "" for p in self._parameters)
            result = self.loss(outputs, loss_weights, usual=loss)
            region = len(self._ops) - 1  # the last operator under autocast
            if self.workload.autocast == "float16":
                scale = self._tensor((), "float32", "buffer", name="loss_scale")
                kept.add(scale.storage)
                result = self._scaled(result, scale)
            with self.holding(result):
                self.update(self._as_gradients(self.backward(result)))
        if self._with_graph:
            kept |= self._held_by_graph(outputs)
        self._held += [(cast.storage, region) for cast in self._casts.values()]
        kept |= {t.storage for t in (*self._parameters, *self._buffers, *self._inputs)}
        kept |= {t.storage for op in self._ops for t in op.outputs if t.role in _OUTLIVES}
        program = Program(
            network=network,
            source=source,
            frontend=frontend,
            rung="declared",
            workload=self.workload,
            ops=tuple(self._ops),
            storages=with_lifetimes(self._storages, self._ops, kept, self._calls, self._held),
            modules=tuple(self._modules.values()),
            parameters=tuple(self._parameters),
            buffers=tuple(self._buffers),
            inputs=tuple(self._inputs),
            outputs=outputs,
            aliases=self._aliases,
            warnings=warnings,
        )
        return as_the_loop_has_it(program)


_LEAVES = ("parameter", "input")
_OUTLIVES = ("optimizer_state", "gradient")
_NOWHERE = -1
"""The storage of what is never computed."""
