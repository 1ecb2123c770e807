"""The notation: networks written in a line, as on the lecture's slides.

`(Input)(3,224,224)->(Conv)6c5w1s0p` is an image of 3 x 224 x 224 that goes through a convolution of 6
kernels, 5 wide, at stride 1, without padding. This module puts branches (`add[ ... | ... ]`,
`cat[ ... | ... ]`, `mul[ ... | ... ]`, `dense[ ... ]`), repetition (`3*[ ... ]`) and labels
(`stem: [ ... ]`) beside the slide's chain. The grammar is in docs/notation.md.

:mod:`.parse` turns text into a tree, :mod:`.kinds` knows the layers, and what stands here walks the tree
with a builder. Every layer is a module: `conv1`, `conv2`, `fc1` numbered in each scope, or its label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ...builder import Builder
from ...errors import ShapeError, UsageError
from ...layers import add, concatenate
from ...program import Program, Tensor
from ...workload import InputSpec, Workload, check_dimension
from .parse import MOST_AXES, Chain, Group, Item, Join, Layer, Network, error_at, parse

_BEGINS = re.compile(
    r"""\s*(?:
        \(                                          # (Input)(3,224,224), (Conv)6c5w
      | [0-9][0-9,x×\s]*\(                          # 100 (fc)10, the arrow forgotten
      | (?:[a-z_]\w*\s*:\s*)?                       # stem: in front of
        (?: [0-9]+\s*\*                             #   3*
          | (?:add|cat|mul|dense)?\s*\[ )           #   cat[ or [
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_NAME_LENGTH = 40


def is_notation(text: str) -> bool:
    """Whether the text is meant as notation: it has an arrow, or begins as only a notation does.

    Names such as `resnet50`, `hf:./x/config.json` and `net.py:Net` are not.
    """
    return "->" in text or "→" in text or _BEGINS.match(text) is not None


def read(text: str, workload: Workload) -> Program:
    """One step, under the workload, of the network that the text writes.

    The input's shape stands in the text or in the workload; in both, they agree.

    Raises:
        NotationError: the text cannot be read, or a layer does not take what comes in; it points at
            the place.
        UsageError: the workload gives several inputs, or another one than the text.
    """
    network = parse(text)
    spec = _input(text, network, workload)
    net = Builder(replace(workload, inputs=(spec,)))
    x = net.input((workload.batch, *spec.shape), dtype=spec.dtype, name=spec.name or "input")
    x = _chain(net, x, network.chain, text)
    return net.build(
        network=_short(text),
        source=text,
        frontend="notation",
        outputs=(x,),
        warnings=_warnings(network, workload),
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _NAME_LENGTH else f"{line[: _NAME_LENGTH - 1]}…"


def _warnings(network: Network, workload: Workload) -> tuple[str, ...]:
    last = network.chain[-1].node
    softmax = isinstance(last, Layer) and last.kind.name == "Softmax"
    if not (workload.training and softmax and workload.loss != "mean"):
        return ()
    return (
        "the network ends in a softmax and the cross-entropy loss takes one of its own: "
        "training needs the network without its last layer",
    )


# -- the input -----------------------------------------------------------------------------------------


def _input(text: str, network: Network, workload: Workload) -> InputSpec:
    """The input that text and workload agree on; whole numbers where an embedding reads it."""
    if len(workload.inputs) > 1:
        raise UsageError(f"a notation has one input, and {len(workload.inputs)} were given")
    given = workload.inputs[0] if workload.inputs else None
    if given is not None and not 1 <= len(given.shape) <= MOST_AXES:
        raise UsageError(
            f"a notation's input has 1 to {MOST_AXES} sizes, without the batch, and "
            f"{_sizes(given.shape)} was given"
        )
    if given is None and network.shape is None:
        raise error_at(
            text,
            0,
            "the network has no input sizes",
            "begin with (Input)(3,224,224)-> or give the input, as --input 3,224,224",
        )
    if given is None:
        assert network.shape is not None
        given = InputSpec(shape=network.shape)
    if network.shape is not None and given.shape != network.shape:
        raise error_at(
            text,
            0,
            f"the notation begins with the input {_sizes(network.shape)}, and the input given is "
            f"{_sizes(given.shape)}",
            "leave one of the two out",
        )
    dtype = given.dtype or ("int64" if _reads_indices(network.chain) else None)
    return replace(given, dtype=dtype, name=given.name or "input")


def _sizes(shape: tuple[int, ...]) -> str:
    return f"({','.join(str(size) for size in shape)})"


def _reads_indices(chain: Chain) -> bool:
    """Whether what comes first is an embedding."""
    if not chain:
        return False
    first = chain[0].node
    if isinstance(first, Layer):
        return first.kind.name == "Embedding"
    branches = (first.chain,) if isinstance(first, Group) else first.branches
    return any(_reads_indices(branch) for branch in branches)


# -- the tree ------------------------------------------------------------------------------------------


class _Names:
    """The names in one scope: labels as they are, others numbered by prefix around them."""

    def __init__(self, labels: dict[str, int]) -> None:
        self._labels = labels
        self._numbers: dict[str, int] = {}

    def next(self, prefix: str) -> str:
        """conv1, conv2, ... leaving out those that are labels."""
        number = self._numbers.get(prefix, 0) + 1
        while f"{prefix}{number}" in self._labels:
            number += 1
        self._numbers[prefix] = number
        return f"{prefix}{number}"


def _labelled(items: Chain, text: str) -> _Names:
    """The names of one scope that holds these items."""
    labels: dict[str, int] = {}
    for item in items:
        if item.label is None:
            continue
        if item.label in labels:
            raise error_at(
                text, item.position, f"two layers of one scope are labelled {item.label!r}"
            )
        labels[item.label] = item.position
    return _Names(labels)


def _chain(net: Builder, x: Tensor, chain: Chain, text: str) -> Tensor:
    names = _labelled(chain, text)
    for item in chain:
        x = _item(net, x, item, item.label or names.next(_prefix(item)), text)
    return x


def _prefix(item: Item) -> str:
    if item.times is not None:
        return "repeat"
    if isinstance(item.node, Layer):
        return item.node.kind.prefix
    return item.node.how if isinstance(item.node, Join) else "block"


def _item(net: Builder, x: Tensor, item: Item, name: str, text: str) -> Tensor:
    if item.times is None:
        return _node(net, x, item, name, text)
    with net.module(name, "Sequential", f"{item.times} times"):
        for number in range(1, item.times + 1):
            x = _node(net, x, item, str(number), text)
    return x


def _node(net: Builder, x: Tensor, item: Item, name: str, text: str) -> Tensor:
    node = item.node
    if isinstance(node, Group):
        with net.module(name, "Sequential"):
            return _chain(net, x, node.chain, text)
    if isinstance(node, Join):
        with net.module(name, node.how.capitalize()):
            return _join(net, x, node, text)
    with _placed(text, node.position):
        y = node.kind.build(net, x, name, node.settings)
        _check(net, y, name)
    return y


def _join(net: Builder, x: Tensor, node: Join, text: str) -> Tensor:
    parts = _branches(net, x, node, text)
    with _placed(text, node.position):
        y = _joined(net, x, node, parts)
        _check(net, y, net.scope)
    return y


def _branches(net: Builder, x: Tensor, node: Join, text: str) -> list[Tensor]:
    """What comes out of each branch.

    A single filled branch stands in the join's own scope, and so does a branch that is one labelled
    item; the others are branch1, branch2, ...
    """
    filled = [branch for branch in node.branches if branch]
    if len(filled) == 1:
        return [_chain(net, x, branch, text) if branch else x for branch in node.branches]
    alone = tuple(branch[0] for branch in filled if len(branch) == 1 and branch[0].label)
    names = _labelled(alone, text)
    parts = []
    for branch in node.branches:
        if not branch:
            parts.append(x)
        elif len(branch) == 1 and branch[0].label:
            parts.append(_item(net, x, branch[0], branch[0].label, text))
        else:
            with net.module(names.next("branch"), "Sequential"):
                parts.append(_chain(net, x, branch, text))
    return parts


def _joined(net: Builder, x: Tensor, node: Join, parts: list[Tensor]) -> Tensor:
    """add and mul element by element, cat and dense along the channels, the first axis of a sample."""
    if node.how == "dense":
        return concatenate(net, x, *parts)
    if node.how == "cat":
        return concatenate(net, *parts)
    y = parts[0]
    for part in parts[1:]:
        if node.how == "add" and y.shape != part.shape:
            raise ShapeError(
                f"{net.scope}: the branches end in {y.shape} and {part.shape}, which do not add up",
                "a (Conv) or (fc) on the empty branch can bring it to the other's shape",
            )
        if len(y.shape) != len(part.shape):
            raise ShapeError(f"{net.scope}: the branches end in {y.shape} and {part.shape}")
        y = add(net, y, part) if node.how == "add" else net.op("mul", y, part)[0]
    return y


def _check(net: Builder, y: Tensor, name: str) -> None:
    """Sizes that multiply from layer to layer end where sizes do."""
    for size in y.shape[1:]:
        check_dimension(size, f"what comes out of {name}")


@contextmanager
def _placed(text: str, position: int) -> Iterator[None]:
    """Points at the layer that did not fit."""
    try:
        yield
    except (ShapeError, UsageError) as error:
        raise error_at(text, position, error.message, *error.hints) from error
