"""Networks of the zoo as PyTorch modules, so that every counter can be asked about them.

The zoo describes networks without a framework, and some of them PyTorch's libraries don't have: a paper's
own reading, or what came before them. A program of the zoo names its layers as PyTorch would, so each
becomes that layer of torch.nn, in its place in the tree; what happens between layers becomes a call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from weighbridge.frontends import zoo
from weighbridge.program import Op, Tensor
from weighbridge.workload import Workload


def _convolution(op: Op) -> nn.Module:
    image, weight = op.inputs[:2]
    settings: Any = {key: op.attributes[key] for key in ("stride", "padding", "dilation", "groups")}
    channels, _, *kernel = weight.shape
    return nn.Conv2d(
        image.shape[1], channels, (kernel[0], kernel[1]), bias=len(op.inputs) == 3, **settings
    )  # fmt: skip


def _linear(op: Op) -> nn.Module:
    inside, outside = op.inputs[1].shape  # transposed
    return nn.Linear(inside, outside, bias=len(op.inputs) == 3)


def _max_pool(op: Op) -> nn.Module:
    given: Any = op.attributes
    return nn.MaxPool2d(
        given["window"], given["stride"], given["padding"], ceil_mode=given["ceil_mode"]
    )


LAYERS: Mapping[str, Callable[[Op], nn.Module]] = {
    "AdaptiveAvgPool2d": lambda op: nn.AdaptiveAvgPool2d(op.attributes["size"]),  # type: ignore[arg-type]
    "BatchNorm2d": lambda op: nn.BatchNorm2d(op.inputs[0].shape[1]),
    "Conv2d": _convolution,
    "Linear": _linear,
    "LocalResponseNorm": lambda op: nn.LocalResponseNorm(op.attributes["size"]),  # type: ignore[arg-type]
    "MaxPool2d": _max_pool,
    "ReLU": lambda _: nn.ReLU(),
    "ReLU6": lambda _: nn.ReLU6(),
}
"""Layers by what the zoo, as PyTorch, calls them; the operator says how large."""

CALLS: Mapping[str, Callable[..., object]] = {
    "adaptive_average_pool": lambda x, *, size: functional.adaptive_avg_pool2d(x, size),
    "add": operator.add,
    "average_pool": lambda x, *, window, stride, padding, ceil_mode: functional.avg_pool2d(
        x, window, stride, padding, ceil_mode
    ),
    "concatenate": lambda *parts, axis: torch.cat(parts, axis),
    "mul": operator.mul,
    "relu": torch.relu,
    "reshape": torch.reshape,
    "slice": lambda x, *, axis, start, length: torch.narrow(x, axis, start, length),
    "sub": operator.sub,
    "sum": lambda x, *, axes: torch.sum(x, axes),
    "tanh": torch.tanh,
}
"""What happens outside layers, by operator."""


def module(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The network on the current device, and the shape of its input.

    Raises:
        LookupError: it has a layer that is not among LAYERS.
    """
    program = zoo.read(name, Workload())
    kinds = {module.scope: module.kind for module in program.modules}
    graph, attributes = fx.Graph(), dict[str, Any]()
    made: dict[int, fx.Node] = {
        tensor.id: graph.placeholder(f"input{index}") for index, tensor in enumerate(program.inputs)
    }

    def node(tensor: Tensor) -> fx.Node:
        if tensor.id not in made:  # a parameter or a buffer that is no layer's
            assert tensor.name is not None
            data = torch.zeros(tensor.shape)
            parameter = tensor.role == "parameter"
            attributes[tensor.name] = nn.Parameter(data) if parameter else data
            made[tensor.id] = graph.get_attr(tensor.name)
        return made[tensor.id]

    for op in program.ops:
        kind = kinds.get(op.scope, "")
        if kind == "Linear" and op.kind == "transpose":
            continue  # of its weight: a part of the layer
        if kind in LAYERS:
            if op.scope not in attributes:
                attributes[op.scope] = LAYERS[kind](op)
            result = graph.call_module(op.scope, (node(op.inputs[0]),))
        elif op.kind in CALLS:
            arguments = tuple(node(tensor) for tensor in op.inputs)
            result = graph.call_function(CALLS[op.kind], arguments, dict(op.attributes))
        else:
            raise LookupError(
                f"{name} has a {op.kind} in {op.scope!r}, which is no layer known here"
            )
        made[op.outputs[0].id] = result
    graph.output(node(program.outputs[0]))
    return fx.GraphModule(attributes, graph), program.inputs[0].shape
