"""Random modules, traced without data and run with data: nothing of what is recorded may differ.

A module is a list of small steps, each on tensors that earlier ones made: layers, some of them run again or with
another's weights, branches that are joined, views, writing in place. The witness is a real step on the CPU,
watched by a dispatch mode of the test's own and by PyTorch's FlopCounterMode, whose formula
for the gradients of grouped convolutions is put right.
"""

from collections import Counter

import pytest

torch = pytest.importorskip("torch")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count  # noqa: E402

from weighbridge.analyses.compute import compute  # noqa: E402
from weighbridge.errors import WeighError  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.frontends.torch.translation import Handling, translation_of  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch

BATCH = 2


# -- what a module is made of ----------------------------------------------------------------------


class Random(nn.Module):
    """Runs a list of steps; the layers that they need are made by a first run."""

    def __init__(self, steps, shape, *, train):
        super().__init__()
        self.train(train)
        self.steps = steps
        self.layers = nn.ModuleDict()
        self.tied = {}
        with torch.device("meta"), torch.set_grad_enabled(train):
            self.making = True
            self(torch.empty(BATCH, *shape))
        self.making = False
        for layer in self.layers.values():
            layer.train(train).to_empty(device="cpu")
            for tensor in (*layer.parameters(), *layer.buffers()):
                with torch.no_grad():
                    tensor.fill_(1)

    def layer(self, key, make):
        if self.making and key not in self.layers:
            self.layers[key] = make()
        return self.layers[key]

    def forward(self, x):
        made = [x]
        for place, (name, first, second, number) in enumerate(self.steps):
            a, b = made[first % len(made)], made[second % len(made)]
            y = STEPS[name](self, place, a, b, number)
            if y is not None:
                made.append(y)
        return torch.cat([tensor.reshape(BATCH, -1) for tensor in made[-3:]], 1)


def linear(net, place, a, b, number):
    width = 1 + number % 5
    # Keyed by its sizes: the same sizes again are the same layer again.
    key = f"linear_{a.shape[-1]}_{width}" if number % 2 else f"linear_at_{place}"
    return net.layer(key, lambda: nn.Linear(a.shape[-1], width, bias=number % 3 > 0))(a)


def tied(net, place, a, b, number):
    if net.making:
        fitting = (
            key
            for key, layer in net.layers.items()
            if isinstance(layer, nn.Linear) and layer.weight.shape[0] == a.shape[-1]
        )
        net.tied[place] = next(fitting, None)
    key = net.tied[place]
    return None if key is None else F.linear(a, net.layers[key].weight.t())


def convolution(net, place, a, b, number):
    if a.dim() != 4:
        return None
    k = 1 + number % 4
    settings = {"padding": number % 2, "stride": 1 + number % 2, "bias": number % 3 > 0}
    size = 1 + number % 3
    if min(a.shape[2:]) + 2 * settings["padding"] < size:
        return None
    key = f"conv_{a.shape[1]}_{number}" if number % 2 else f"conv_at_{place}"
    return net.layer(key, lambda: nn.Conv2d(a.shape[1], k, size, **settings))(a)


def transposed(net, place, a, b, number):
    if a.dim() != 4 or a.numel() > 4000:
        return None
    key = f"transposed_at_{place}"
    return net.layer(
        key, lambda: nn.ConvTranspose2d(a.shape[1], 2, 2, stride=1 + number % 2)
    )(a)  # fmt: skip


def batch_norm(net, place, a, b, number):
    if a.dim() != 4:
        return None
    key = f"norm_at_{place}"
    if net.training and not a.requires_grad:
        return None  # without data PyTorch makes the gradient of its input, wanted or not
    # Of a transposed image a CPU's kernel makes an upright one, and PyTorch without data a transposed one.
    a = a.contiguous()
    return net.layer(key, lambda: nn.BatchNorm2d(a.shape[1], affine=number % 3 > 0))(a)


def layer_norm(net, place, a, b, number):
    key = f"layer_norm_{a.shape[-1]}"
    return net.layer(key, lambda: nn.LayerNorm(a.shape[-1]))(a)


def group_norm(net, place, a, b, number):
    if a.dim() != 4:
        return None
    return net.layer(f"group_at_{place}", lambda: nn.GroupNorm(1, a.shape[1]))(a)


def activation(net, place, a, b, number):
    kinds = (
        torch.relu, F.gelu, F.silu, torch.sigmoid, torch.tanh, F.hardswish, F.leaky_relu, F.softplus,
        F.elu, torch.exp,
    )  # fmt: skip
    return kinds[number % len(kinds)](a)


def in_place(net, place, a, b, number):
    if number % 7 == 0:
        return a.mul_(2)  # of whatever it is, also where autograd needs it
    fresh = a.clone() if number % 2 else a + 1
    kinds = (
        torch.relu_, lambda t: t.add_(1), lambda t: t.mul_(t.new_full((), 2.0)), lambda t: t.sub_(a),
        torch.sigmoid_, lambda t: t.clamp_(min=0), lambda t: t[:1].add_(1),
    )  # fmt: skip
    kinds[number % len(kinds)](fresh)
    return fresh


def joined(net, place, a, b, number):
    if a.shape == b.shape:
        kinds = (torch.add, torch.mul, torch.maximum, torch.sub)
        return kinds[number % len(kinds)](a, b)
    if a.dim() == b.dim() and a.shape[:-1] == b.shape[:-1]:
        return torch.cat([a, b], -1)
    return None


def product(net, place, a, b, number):
    rows = a.reshape(BATCH, -1, a.shape[-1])
    return rows @ rows.mT if rows.shape[1] <= 64 else None


def view(net, place, a, b, number):
    kinds = (
        lambda t: t.transpose(-1, -2) if t.dim() > 2 else t.unsqueeze(1),
        lambda t: t.reshape(BATCH, -1),
        lambda t: t[..., : max(t.shape[-1] // 2, 1)],
        lambda t: t.flatten(1),
        lambda t: t.chunk(2, -1)[0],
        lambda t: t.unsqueeze(1).expand(BATCH, 2, *t.shape[1:]).flatten(1, 2) if t.numel() < 500 else None,
        lambda t: t.contiguous(),
        lambda t: t.roll(1, -1),
        lambda t: t.flip(-1),
        lambda t: F.pad(t, (1, 0)),
        lambda t: torch.stack([t, t], 1)[:, 0],
    )  # fmt: skip
    return kinds[number % len(kinds)](a)


def pool(net, place, a, b, number):
    if a.dim() != 4 or min(a.shape[2:]) < 2:
        return None
    kinds = (
        lambda t: F.max_pool2d(t, 2),
        lambda t: F.avg_pool2d(t, 2, stride=1),
        lambda t: F.adaptive_avg_pool2d(t, 1),
        lambda t: F.adaptive_max_pool2d(t, 1),
    )
    return kinds[number % len(kinds)](a)


def reduction(net, place, a, b, number):
    kinds = (
        lambda t: t.softmax(-1), lambda t: t.mean(-1, keepdim=True), lambda t: t.sum(-1, keepdim=True),
        lambda t: t.amax(-1, keepdim=True), lambda t: t.log_softmax(-1), lambda t: t.cumsum(-1),
        lambda t: t - t.mean(-1, keepdim=True), lambda t: t.var(-1, keepdim=True, correction=0),
    )  # fmt: skip
    return kinds[number % len(kinds)](a)


def parts(net, place, a, b, number):
    if a.shape[-1] % 2:
        return None
    kinds = (
        lambda t: torch.mul(*t.chunk(2, -1)),
        lambda t: torch.cat(t.chunk(2, -1)[::-1], -1),
        lambda t: t + torch.cat([t.chunk(2, -1)[0]] * 2, -1),
        lambda t: torch.stack(t.split(1, -1)).sum(0),
        lambda t: t.unflatten(-1, (2, -1)).unbind(-2)[1],
        lambda t: F.glu(t, -1),
        lambda t: t.tensor_split(2, -1)[0] - t.mean(),
    )
    return kinds[number % len(kinds)](a)


def part_in_place(net, place, a, b, number):
    """Writes to a view of a copy, whose other views see it."""
    whole = a.clone()
    other = whole[..., -1:]
    kinds = (
        lambda t: t[..., :1].mul_(2), lambda t: t.transpose(-1, -2).add_(1), lambda t: t.view(-1)[:2].zero_(),
        lambda t: t.chunk(2, -1)[0].sigmoid_(), lambda t: t.unbind(0)[0].copy_(t[1]), lambda t: t.select(0, 0).neg_(),
        lambda t: t.unsqueeze(1).fill_(3),
    )  # fmt: skip
    kinds[number % len(kinds)](whole)
    return whole * other if number % 2 else whole


def stretched(net, place, a, b, number):
    kinds = (
        lambda t: t * t.mean(-1, keepdim=True), lambda t: t + t.new_ones(t.shape[-1]), lambda t: t[:1] * t,
        lambda t: t / (t.amax() + 9), lambda t: torch.maximum(t, t.new_zeros(())), lambda t: t - t.sum(0),
        lambda t: torch.where(t > 0, t, t.new_zeros(())), lambda t: t.clone().addcmul_(t, t[:1], value=2),
    )  # fmt: skip
    return kinds[number % len(kinds)](a)


def indexed(net, place, a, b, number):
    def first(count):
        return torch.zeros(count, dtype=torch.int64, device=a.device)

    everywhere = torch.zeros(a.shape, dtype=torch.int64, device=a.device)
    kinds = (
        lambda t: t.index_select(-1, first(3)), lambda t: t.gather(-1, everywhere), lambda t: t[..., first(2)],
        lambda t: torch.zeros_like(t).scatter_add(-1, everywhere, t), lambda t: t.masked_fill(t > 0, 0.5),
        lambda t: t.index_add(-1, first(1), t[..., :1]), lambda t: t.topk(1, -1)[0], lambda t: t.sort(-1)[0],
        lambda t: t.scatter(-1, everywhere, 1.0), lambda t: t.index_fill(-1, first(1), 2.0),
        lambda t: torch.take_along_dim(t, everywhere, -1), lambda t: t.clone().index_copy_(0, first(1), t[:1]),
        lambda t: t.index_put((first(1),), t[:1], accumulate=True), lambda t: t.max(-1, keepdim=True)[0],
        lambda t: F.embedding(everywhere.flatten(1)[:, :2], t.new_ones(4, 3)) * t.mean(),
    )  # fmt: skip
    return kinds[number % len(kinds)](a)


def grouped(net, place, a, b, number):
    """Each channel, or each half of them, on its own; in one dimension and two, transposed too."""
    if a.dim() not in (3, 4) or a.numel() > 4000:
        return None
    channels = a.shape[1]
    groups = channels if number % 2 else 2 - channels % 2
    kinds = (nn.Conv1d, nn.ConvTranspose1d) if a.dim() == 3 else (nn.Conv2d, nn.ConvTranspose2d)
    kind = kinds[number // 2 % 2]
    # The CPU's kernel lays out what it makes of a transposed image its own way.
    a = a.contiguous()
    make = lambda: kind(channels, 2 * groups, 3, padding=1, groups=groups, bias=number % 3 > 0)  # noqa: E731
    return net.layer(f"grouped_at_{place}", make)(a)


def cell(net, place, a, b, number):
    rows = a.reshape(BATCH, -1)
    kind = (nn.LSTMCell, nn.GRUCell, nn.RNNCell)[number % 3]
    made = net.layer(f"cell_at_{place}", lambda: kind(rows.shape[1], 1 + number % 4))(rows)
    return made[0] if isinstance(made, tuple) else made


STEPS = {
    step.__name__: step
    for step in (
        linear, tied, convolution, transposed, batch_norm, layer_norm, group_norm, activation, in_place,
        joined, product, view, pool, reduction, parts, part_in_place, stretched, indexed, grouped, cell,
    )
}  # fmt: skip

numbers = st.integers(0, 50)
modules = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), numbers, numbers, numbers), min_size=1, max_size=9
)
shapes = st.one_of(
    st.tuples(st.integers(1, 3), st.integers(4, 7), st.integers(4, 7)), st.tuples(st.integers(2, 6))
)


# -- the witness -----------------------------------------------------------------------------------


class Watched(TorchDispatchMode):
    """Operators with the shapes of their results, and the bytes of every storage that one made.

    A CPU's kernel may return the gradient of a weight in a layout of its own, which is then copied where it is
    kept: `copies` and `copied` are what that takes on top, and may differ.
    """

    def __init__(self, there):
        super().__init__()
        self.operators = Counter()
        self.held = {tensor.untyped_storage()._cdata: tensor for tensor in there}
        self.sizes = Counter()
        self.copies = Counter()
        self.copied = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        how = translation_of(func)
        made = [result] if isinstance(result, torch.Tensor) else result
        # What holds nothing, such as the statistics that batch norm does not take in evaluation, is left out.
        made = [t for t in made or () if isinstance(t, torch.Tensor) and t.numel()]
        node = torch._C._current_autograd_node()
        kept = node is not None and "AccumulateGrad" in node.name()
        if how.handling is Handling.RECORDED:
            # By kind: evaluating batch norm has one name on a CPU and another one without data.
            record = how.read(args, kwargs or {}).kind, tuple(tuple(t.shape) for t in made)
            self.operators[record] += 1
            self.copies[record] += kept and record[0] == "copy"
        for tensor in made if how.handling is not Handling.IGNORED else ():
            storage = tensor.untyped_storage()
            if storage._cdata not in self.held:
                # Held, so that no other storage can take its place.
                self.held[storage._cdata] = tensor
                self.sizes[storage.nbytes()] += 1
                self.copied[storage.nbytes()] += kept
        return result


def convolution_backward(dy, x, w, *settings, out_shape):
    """Each gradient is as many products as forward. Torch's own formula takes all groups for one in that of the weight."""
    transposed, asked = settings[4], settings[7]
    return (asked[0] + asked[1]) * conv_flop_count(x, w, dy, transposed=transposed)


FORMULAS = {torch.ops.aten.convolution_backward: convolution_backward}


def really(net, x, *, train):
    """The operators, storages and FLOPs of a step with data; None where autograd refuses the program."""
    there = (*net.parameters(), *net.buffers(), x)
    watched = Watched(there)
    # Each in its own run: FlopCounterMode takes apart some operators that it has no formula for.
    for witness in (watched, flops := FlopCounterMode(display=False, custom_mapping=FORMULAS)):
        net.zero_grad(set_to_none=True)
        with witness, torch.set_grad_enabled(train):
            y = net(x)
            if train:
                loss = y.mean()
                seed = torch.ones_like(loss)
                try:
                    loss.backward(seed)
                except RuntimeError as error:
                    if "inplace operation" not in str(error):
                        raise
                    return None
    return watched, flops.get_total_flops(), tuple(y.shape)


def agree(steps, shape, *, train):
    try:
        net = Random(steps, shape, train=train)
    except RuntimeError as error:  # a view that must not be written to
        if "modified inplace" not in str(error):
            raise
        return
    x = torch.ones(BATCH, *shape)
    trained = train and any(p.requires_grad for p in net.parameters())
    if train and not trained:
        return
    workload = Workload(
        inputs=(InputSpec(shape=shape),), batch=BATCH, mode="training" if train else "inference",
        loss="mean",
    )  # fmt: skip
    try:
        program = trace(net, workload, network="random", source="test")
    except WeighError as error:
        refused = str(error)
        if "there is nothing to train" in refused:
            return
        program = None
    try:
        witness = really(net, x, train=train)
    except RuntimeError:  # writing in place to what must stay
        if program is not None:
            raise
        return
    if witness is None:
        assert program is None
        return
    assert program is not None, refused
    watched, flops, shape_out = witness
    ours = Counter(
        (op.kind, tuple(tensor.shape for tensor in op.outputs)) for op in program.ops
    )  # fmt: skip
    sizes = Counter(s.bytes for s in program.storages if s.birth >= 0 and s.bytes)
    assert ours - watched.operators == Counter()
    assert watched.operators - ours <= watched.copies
    assert sizes - watched.sizes == Counter()
    assert watched.sizes - sizes <= watched.copied
    assert program.outputs[0].shape == shape_out
    found = compute(program)
    assert found.uncounted == ()
    assert found.forward.flops + found.backward.flops == flops


COMMON = {
    "phases": (Phase.explicit, Phase.generate),  # shrinking runs networks for minutes
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
    "print_blob": True,
}


@settings(max_examples=40, derandomize=True, **COMMON)
@given(modules, shapes)
def test_a_forward_pass_is_recorded_as_it_runs(steps, shape):
    agree(steps, shape, train=False)


@settings(max_examples=20, derandomize=True, **COMMON)
@given(modules, shapes)
def test_a_training_step_is_recorded_as_it_runs(steps, shape):
    agree(steps, shape, train=True)


@pytest.mark.slow
@settings(max_examples=1000, **COMMON)
@given(modules, shapes, st.booleans())
def test_two_thousand_more(steps, shape, train):
    agree(steps, shape, train=train)
    agree(steps, shape, train=not train)
