"""What a step of a PyTorch network is besides its operators: losses, optimizers and loops of the user's own."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import weighbridge  # noqa: E402
from weighbridge.analyses.memory.checkpointing import blocks_checkpointed  # noqa: E402
from weighbridge.analyses.memory.timeline import lifetimes, timeline  # noqa: E402
from weighbridge.errors import UsageError, WeighError  # noqa: E402
from weighbridge.program import dumps, loads  # noqa: E402

pytestmark = pytest.mark.torch


def weigh(model, *shapes, **settings):
    return weighbridge.weigh(model, list(shapes), **settings).program


def most(program, *categories, phase=None):
    """The largest sum of the categories' bytes in a round of the loop."""
    found = timeline(program)
    return max(
        sum(found.categories[name][at] for name in categories if name in found.categories)
        for at, op in enumerate(program.ops)
        if phase in (None, op.phase)
    )


# -- losses ----------------------------------------------------------------------------------------


def test_a_loss_of_the_output_alone():
    program = weigh(nn.Linear(8, 4), (8,), batch=2, train="sgd", loss=lambda y: y.square().sum())
    forward = [op.kind for op in program.phase("forward") if op.scope == "loss"]
    assert forward == ["square", "sum"]
    assert program.workload.loss == "<lambda>"


@pytest.mark.parametrize("loss", [F.mse_loss, nn.MSELoss(), lambda y, target: F.l1_loss(y, target)])
def test_targets_are_made_up_like_the_output(loss):
    program = weigh(nn.Linear(8, 4), (8,), batch=2, train="sgd", loss=loss)
    (targets,) = [tensor for tensor in program.inputs if tensor.name == "targets"]
    assert (targets.shape, targets.dtype) == ((2, 4), "float32")


@pytest.mark.parametrize("loss", [F.cross_entropy, nn.CrossEntropyLoss(label_smoothing=0.1)])
def test_targets_of_classes_are_numbers(loss):
    program = weigh(nn.Linear(8, 4), (8,), batch=2, train="sgd", loss=loss)
    (targets,) = [tensor for tensor in program.inputs if tensor.name == "targets"]
    assert (targets.shape, targets.dtype) == ((2,), "int64")


class Nothing(nn.Module):
    """Returns no tensor of floating point."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x):
        return {"classes": self.linear(x).argmax(1)}


@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        (Nothing(), "auto", "no floating-point tensor to take a loss of\n.*loss=lambda output"),
        (Nothing(), F.mse_loss, "no floating-point tensor that targets could be made up for"),
        (nn.Linear(8, 4), lambda y: y, r"a tensor of shape \(2, 4\), and backward starts from one number"),
        (nn.Linear(8, 4), lambda y: 3.0, "the loss returns float, and backward starts from a tensor"),
    ],
)  # fmt: skip
def test_losses_that_cannot_be_formed(model, loss, message):
    with pytest.raises(WeighError, match=message):
        weigh(model, (8,), batch=2, train="sgd", loss=loss)


def test_names_and_functions_that_are_neither():
    with pytest.raises(UsageError, match="a int is no loss and no optimizer"):
        weigh(nn.Linear(8, 4), (8,), train="sgd", loss=3)
    with pytest.raises(UsageError, match="no loss is called 'mse'"):
        weigh(nn.Linear(8, 4), (8,), train="sgd", loss="mse")


# -- optimizers ------------------------------------------------------------------------------------


def test_an_optimizer_of_ones_own():
    net = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 20, bias=False))
    program = weigh(net, (10,), train=lambda params: torch.optim.Adam(params, amsgrad=True))
    states = {t.storage: t.bytes for t in program.tensors if t.role == "optimizer_state"}
    assert sum(states.values()) == 3 * 4 * 300  # two moments and the largest second one
    assert most(program, "temporary", phase="update") == 4 * 300  # foreach, as CUDA chooses
    one = weigh(net, (10,), train=lambda p: torch.optim.Adam(p), backend="cpu")
    assert most(one, "temporary", phase="update") == 4 * 500  # one parameter after the other
    assert program.workload.optimizer.text == "<lambda>"
    assert loads(dumps(program)).workload == program.workload.plain


def test_groups_of_ones_own_have_states_of_their_own():
    # Two weights of one shape, (6, 6), of which the second alone has momentum: 36 float32 = 144 bytes of state.
    def make(params):
        first, second = params
        return torch.optim.SGD([{"params": [first]}, {"params": [second], "momentum": 0.9}], lr=0.1)

    net = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    program = weigh(net, (6,), train=make)
    states = [s for s in lifetimes(program) if s.category == "optimizer_state"]
    assert [(state.maker, state.bytes) for state in states] == [("1.weight.momentum_buffer", 144)]


class Signs(torch.optim.Optimizer):
    """A rule that PyTorch has not, with a state of half the size."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["moment"] = torch.zeros_like(p, dtype=torch.bfloat16)
                state["moment"].mul_(0.9).add_(p.grad)
                p.add_(state["moment"].sign(), alpha=-group["lr"])


def test_a_rule_that_pytorch_has_not():
    program = weigh(nn.Linear(10, 20, bias=False), (10,), train=Signs)
    states = {t.storage: t.bytes for t in program.tensors if t.role == "optimizer_state"}
    assert sum(states.values()) == 2 * 200
    assert [op.kind for op in program.phase("update")] == ["mul", "add", "negative", "add"]


class Rash(torch.optim.SGD):
    """Has settings that PyTorch refuses."""

    def __init__(self, params):
        super().__init__(params, lr=-1)


def test_what_makes_no_optimizer():
    with pytest.raises(
        WeighError, match=r"makes list of parameters, and a torch\.optim\.Optimizer is wanted"
    ):
        weigh(nn.Linear(8, 4), (8,), train=list)
    with pytest.raises(
        UsageError,
        match="Rash makes no optimizer of 2 parameters: ValueError: Invalid learning rate: -1",
    ) as caught:
        weigh(nn.Linear(8, 4), (8,), train=Rash)
    assert "super().__init__(params, lr=-1)" in caught.value.hints[-1]
    with pytest.raises(UsageError, match="momentum with an optimizer of your own"):
        weigh(nn.Linear(8, 4), (8,), train=Signs, momentum=0.9)
    with pytest.raises(
        UsageError, match="optimizer Signs is not yet followed in described networks"
    ):
        weighbridge.weigh("lenet5", train=Signs)


def test_functions_by_their_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nNUMBER = 3\n\ndef make(params):\n    return torch.optim.RMSprop(params)\n\n"
        "def loss(y):\n    return y.abs().mean()\n"
    )
    net = nn.Linear(10, 20, bias=False)
    program = weigh(net, (10,), train=f"{path}:make", loss=f"{path}:loss")
    assert program.workload.loss == f"{path}:loss"
    states = {t.storage: t.bytes for t in program.tensors if t.role == "optimizer_state"}
    assert sum(states.values()) == 4 * 200
    with pytest.raises(UsageError, match="NUMBER is int, and a function is wanted"):
        weigh(net, (10,), train=f"{path}:NUMBER")
    with pytest.raises(UsageError, match="which of its functions"):
        weigh(net, (10,), train=str(path))
    with pytest.raises(UsageError, match="has no 'lossy'"):
        weigh(net, (10,), train="sgd", loss=f"{path}:lossy")


# -- loops -----------------------------------------------------------------------------------------


def test_gradients_that_are_kept_are_added_to():
    net = nn.Linear(10, 20, bias=False)
    freed = weigh(net, (10,), train="sgd")
    kept = weigh(net, (10,), train="sgd", set_to_none=False)
    # 200 numbers are there from the start; the new ones are there too until they are added
    assert timeline(freed).categories["gradient"][0] == 0
    assert timeline(kept).categories["gradient"][0] == 4 * 200
    assert most(kept, "gradient", "temporary") >= 2 * 4 * 200
    assert [op.kind for op in kept.phase("backward")][-1] == "add"


def test_inference_with_autograd_on_holds_two_graphs():
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    without = weigh(net, (8,), batch=4)
    with_graph = weigh(net, (8,), batch=4, no_grad=False)
    # y: 4 x 4 numbers; for backward the second layer's operand is kept, 4 x 16. Then the loop runs
    # the network again while its variable names the y before, and what that holds
    assert timeline(without).categories["held"][0] == 4 * 16
    assert timeline(with_graph).categories["held"][0] == 4 * (16 + 64)
    assert timeline(with_graph).categories["saved_activation"][-1] == 4 * (16 + 64)
    assert [op.kind for op in without.ops] == [op.kind for op in with_graph.ops]


def test_a_gradient_of_each_sample():
    net = nn.Linear(10, 20, bias=False)
    summed = weigh(net, (10,), batch=4, train="sgd")
    each = weigh(net, (10,), batch=4, train="sgd", per_sample_gradients=True)
    assert most(summed, "gradient") == 4 * 200
    # four of 200 numbers, and their sum when the update begins
    assert most(each, "gradient", phase="backward") == 4 * 4 * 200
    assert most(each, "gradient", phase="update") == 5 * 4 * 200
    assert [op.kind for op in each.phase("update")] == ["sum", "add"]
    assert [op.kind for op in each.phase("backward")] == [
        op.kind for op in summed.phase("backward")
    ]
    described = weighbridge.weigh("10 -> (fc)20", batch=4, train="sgd", per_sample_gradients=True)
    # the layer's bias has 20 more
    assert most(described.program, "gradient", phase="backward") == 4 * 4 * 220
    with pytest.raises(UsageError, match="gradients of each sample are there for one step"):
        weigh(net, (10,), batch=4, train="sgd", per_sample_gradients=True, accumulate=2)


# -- checkpointing ---------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return x + self.second(F.gelu(self.first(x)))


class Stack(nn.Module):
    """Blocks that are checkpointed by the network itself, or not."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.blocks = nn.ModuleList(Block(64) for _ in range(6))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        for block in self.blocks:
            x = block(x) if self.how is None else checkpoint(block, x, use_reentrant=self.how)
        return self.head(x)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("batch", [4, 512])
def test_blocks_checkpointed_here_or_by_the_network_peak_alike(optimizer, batch):
    own = weigh(Stack(False), (64,), batch=batch, train=optimizer)
    ours = weigh(Stack(None), (64,), batch=batch, train=optimizer, checkpointing="blocks")
    plain = weigh(Stack(None), (64,), batch=batch, train=optimizer)
    assert ours.warnings[-1] == "checkpointed: 6 blocks of class Block"
    assert timeline(ours).peak.bytes == timeline(own).peak.bytes
    if batch == 512:  # activations outweigh the weights: checkpointing pays
        assert timeline(ours).peak.bytes < 0.6 * timeline(plain).peak.bytes


def test_reentrant_checkpoints_are_followed():
    net = Stack(True)
    net.first = nn.Linear(64, 64)
    net.forward = lambda x: Stack.forward(
        net, net.first(x)
    )  # reentrant ones want a gradient to flow in
    program = weigh(net, (64,), batch=512, train="sgd")
    plain = weigh(Stack(None), (64,), batch=512, train="sgd")
    recomputed = [op for op in program.phase("backward") if op.kind == "gelu"]
    assert len(recomputed) == 6
    assert timeline(program).peak.bytes < 0.6 * timeline(plain).peak.bytes


def test_a_program_that_does_not_train_is_not_checkpointed():
    with pytest.raises(UsageError, match="checkpointing is for training"):
        blocks_checkpointed(weigh(Stack(None), (64,)))
