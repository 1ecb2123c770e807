"""Memory of described networks: when storages are born and freed, worked out by hand on tiny networks."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

from weighbridge import layers
from weighbridge.analyses.memory.timeline import timeline
from weighbridge.builder import Builder
from weighbridge.ops.optimizers import Unscale, optimizer
from weighbridge.program import Op, Program, Storage, Tensor
from weighbridge.workload import Backend, Implementation, Precision, Workload

TRAINING = Workload(mode="training", batch=2, optimizer=optimizer("sgd"))
INFERENCE = Workload(batch=2)


def built(net: Builder, *outputs: Tensor) -> Program:
    return net.build(network="n", source="t", frontend="t", outputs=outputs)


def two_layers(workload: Workload, *, in_place: bool) -> Program:
    """fc 8 -> 5, ReLU, fc 5 -> 3, without biases."""
    net = Builder(workload)
    x = layers.linear(net, net.input((workload.batch, 8)), "one", 5, bias=False)
    x = layers.activation(net, x, "relu", in_place=in_place)
    return built(net, layers.linear(net, x, "two", 3, bias=False))


def curve(program: Program) -> list[tuple[str, int]]:
    """Bytes while each operator runs, views left out."""
    views = ("transpose", "reshape", "slice", "split", "expand")
    allocated = timeline(program).allocated
    return [
        (op.kind, size)
        for op, size in zip(program.ops, allocated, strict=True)
        if op.kind not in views
    ]


def only(program: Program, kind: str, phase: str = "forward") -> Op:
    (found,) = [op for op in program.ops if op.kind == kind and op.phase == phase]
    return found


def place(program: Program, kind: str, phase: str = "forward") -> int:
    return program.ops.index(only(program, kind, phase))


def storage_of(program: Program, tensor: Tensor) -> Storage:
    (found,) = [storage for storage in program.storages if storage.id == tensor.storage]
    return found


def test_a_step_of_training_byte_by_byte() -> None:
    # In float32: x 2*8*4 = 64, targets 2*8 = 16, weights 5*8*4 = 160 and 3*5*4 = 60: 300 throughout, and from
    # forward's end on the output y, 2*3*4 = 24. Until then the loop holds the y of the round before.
    # The hidden h and r are 2*5*4 = 40.
    base, y = 300, 24
    assert curve(two_layers(TRAINING, in_place=False)) == [
        ("matmul", base + y + 40),  # h
        ("relu", base + y + 80),  # h, r; backward needs r alone
        ("matmul", base + y + 40 + y),  # r and the new y
        ("log_softmax", base + y + 40 + 24),  # the scores s
        ("nll_loss", base + y + 40 + 24 + 4 + 4),  # the loss and what its weights add up to
        ("fill", base + y + 40 + 24 + 8 + 4),  # the seed
        ("nll_loss_backward", base + y + 40 + 24 + 12 + 24),  # ds
        ("log_softmax_backward", base + y + 40 + 24 + 8 + 24 + 24),  # the weight is free; dy
        ("matmul", base + y + 40 + 8 + 24 + 40),  # s and ds are free; dr
        ("matmul", base + y + 40 + 8 + 24 + 40 + 60),  # the gradient of the second weight
        ("threshold_backward", base + y + 40 + 8 + 40 + 60 + 40),  # dy is free; dh
        ("matmul", base + y + 8 + 60 + 40 + 160),  # r and dr are free; that of the first weight
        ("sgd_update", base + y + 4 + 60 + 160),  # dh and the seed are free; a loop names its loss
        ("sgd_update", base + y + 4 + 60 + 160),
    ]


def test_a_step_under_autocast_byte_by_byte() -> None:
    # amp-bf16 on CUDA, by PyTorch's recipe. Weights stay float32, their casts of 80 and 30 bytes last until the
    # loss is there; products are in bfloat16, so that x is cast (32), and h, r are 20 and y is 12 bytes.
    # Cross-entropy asks for the logits' dtype, 12 bytes of scores, and nll_loss takes them in float32 (24).
    # Backward: gradients of bfloat16 are cast to the float32 of what they are of.
    base, y = 300, 12
    amp = replace(TRAINING, precision="amp-bf16")
    assert curve(two_layers(amp, in_place=False)) == [
        ("clone", base + y + 32),  # x
        ("clone", base + y + 32 + 80),  # the first weight
        ("matmul", base + y + 112 + 20),  # h
        ("relu", base + y + 112 + 40),  # h, r
        ("clone", base + y + 112 + 20 + 30),  # the second weight
        ("matmul", base + y + 112 + 50 + 12),  # the new y; then the old one is free
        ("log_softmax", base + y + 112 + 50 + 12),
        ("clone", base + y + 112 + 50 + 12 + 24),
        ("nll_loss", base + y + 112 + 50 + 36 + 8),
        (
            "fill",
            base + y + 32 + 50 + 36 + 12,
        ),  # the region is over: backward wants no first weight
        ("nll_loss_backward", base + y + 32 + 50 + 36 + 12 + 24),
        ("clone", base + y + 32 + 50 + 12 + 8 + 24 + 12),  # its gradient in bfloat16
        ("log_softmax_backward", base + y + 32 + 50 + 12 + 8 + 12 + 12),  # dy
        ("matmul", base + y + 32 + 50 + 8 + 12 + 20),  # dr
        ("matmul", base + y + 32 + 50 + 8 + 12 + 20 + 30),  # of the second weight
        ("clone", base + y + 32 + 20 + 8 + 20 + 30 + 60),  # and that in float32
        ("threshold_backward", base + y + 32 + 20 + 8 + 20 + 60 + 20),  # dh
        ("matmul", base + y + 32 + 8 + 60 + 20 + 80),  # of the first weight
        ("clone", base + y + 8 + 60 + 80 + 160),
        ("sgd_update", base + y + 4 + 60 + 160),
        ("sgd_update", base + y + 4 + 60 + 160),
    ]


def dtypes(program: Program) -> list[tuple[str, str]]:
    """What each forward operator makes, casts and views left out."""
    return [
        (op.kind, op.outputs[0].dtype)
        for op in program.ops
        if op.phase == "forward" and op.kind not in ("clone", "transpose", "reshape")
    ]


def mixed(backend: Backend) -> list[tuple[str, str]]:
    net = Builder(Workload(batch=2, precision="amp-bf16", backend=backend))
    x = layers.linear(net, net.input((2, 4, 8)), "fc", 8)
    y = layers.layer_norm(net, x, "norm")
    y = layers.add(net, x, y)
    y = layers.concatenate(net, x, y)
    return dtypes(built(net, *net.op("pow", *net.op("tanh", x)), y))


def test_autocast_goes_by_the_lists_of_the_backend() -> None:
    # CUDA lists layer_norm and pow as float32's, the CPU neither. A sum or a concatenation of both dtypes is
    # in the wider one.
    low, wide = "bfloat16", "float32"
    assert mixed("cuda") == [
        ("matmul", low),
        ("layer_norm", wide),
        ("add", wide),
        ("concatenate", wide),
        ("tanh", low),
        ("pow", wide),
    ]
    assert dict(mixed("cpu")) == dict.fromkeys(dict(mixed("cuda")), low)


def test_autocast_casts_a_trained_weight_once_and_a_frozen_one_each_time() -> None:
    def casts(*, trained: bool) -> int:
        net = Builder(replace(TRAINING, precision="amp-fp16"))
        x = layers.linear(net, net.input((2, 4)), "fc", 4, bias=False)  # casts x and its own weight
        weight = net.parameter("shared", (4, 4), trainable=trained)
        x = layers.multiply(net, layers.multiply(net, x, weight), weight)
        program = built(net, x)
        return sum(
            op.kind == "clone" and op.phase == "forward" and op.scope != "loss"
            for op in program.ops
        )

    assert casts(trained=True) == 3
    assert casts(trained=False) == 4


def test_the_loss_is_scaled_in_float16_alone() -> None:
    def scaled(precision: Precision) -> int:
        program = two_layers(replace(TRAINING, precision=precision), in_place=False)
        return sum(op.kind == "mul" and op.phase == "forward" for op in program.ops)

    assert [scaled("amp-fp16"), scaled("amp-bf16"), scaled("fp16")] == [1, 0, 0]


def test_gradients_are_scaled_back_by_one_operator() -> None:
    program = two_layers(replace(TRAINING, precision="amp-fp16"), in_place=False)
    assert [op.kind for op in program.phase("update")] == ["unscale", "sgd_update", "sgd_update"]
    # 5*8 + 3*5 = 55 gradients, each multiplied and looked at: is it finite?
    cost = Unscale().arithmetic(only(program, "unscale", "update"))
    assert (cost.multiplications, cost.comparisons) == (55, 55)
    # in place: what is there more than in bfloat16 is one number, the scale
    half = two_layers(replace(TRAINING, precision="amp-bf16"), in_place=False)
    assert timeline(program).allocated[-1] - timeline(half).allocated[-1] == 4
    # without an update they are scaled back all the same, as the loop of the recipe has it
    bare = two_layers(replace(TRAINING, precision="amp-fp16", optimizer=None), in_place=False)
    assert [op.kind for op in bare.phase("update")] == ["unscale"]


def test_inference_with_autograd_on_holds_the_graph_before() -> None:
    # x 2*8*4 = 64, weights 160 and 60: 284 throughout. Backward would read x, r (2*5*4 = 40) and the second
    # weight: with y, 24, that is what the loop still holds of the round before, and what this one leaves.
    base, graph, y = 284, 40, 24
    with_graph = replace(INFERENCE, no_grad=False)
    assert curve(two_layers(with_graph, in_place=False)) == [
        ("matmul", base + graph + y + 40),  # h
        ("relu", base + graph + y + 80),  # h, r
        ("matmul", base + graph + y + 40 + y),  # r stays
    ]
    assert timeline(two_layers(with_graph, in_place=False)).kept == base + graph + y
    assert curve(two_layers(INFERENCE, in_place=False)) == [
        ("matmul", base + y + 40),
        ("relu", base + y + 80),
        ("matmul", base + y + 40 + y),
    ]
    assert timeline(two_layers(INFERENCE, in_place=False)).kept == base + y
    assert [op.kind for op in two_layers(with_graph, in_place=False).ops] == [
        op.kind for op in two_layers(INFERENCE, in_place=False).ops
    ]


def test_an_output_that_the_loss_does_not_read_holds_its_graph() -> None:
    # Two heads of 8 -> 3, of which the loss takes one. In bfloat16 each has a cast of x, 2*8*2 = 32 bytes, for the
    # gradient of its weight (the weight's own cast is for that of x, which nobody wants). Backward frees what the
    # first kept and never comes to the second.
    def heads(weights: tuple[float, ...]) -> Program:
        net = Builder(replace(TRAINING, precision="amp-bf16"))
        x = net.input((2, 8))
        first, second = (layers.linear(net, x, name, 3, bias=False) for name in ("a", "b"))
        return net.build(
            network="n", source="t", frontend="t", outputs=(first, second), loss_weights=weights
        )

    def left_by(program: Program, name: str) -> list[int]:
        made = {t.storage for op in program.ops if op.scope == name for t in op.outputs}
        return [
            s.bytes for s in program.storages if s.id in made and s.birth > 0 and s.death is None
        ]

    # of a head that is trained the output, 2*3*2, and the gradient, 3*8*4, stay
    assert left_by(heads((1, 1)), "b") == [12, 96]
    assert left_by(heads((1, 0)), "a") == [12, 96]
    assert left_by(heads((1, 0)), "b") == [32, 12]


def updating(how: Implementation) -> list[tuple[str, int]]:
    chosen = replace(optimizer("adamw"), implementation=how)
    program = two_layers(replace(TRAINING, optimizer=chosen), in_place=False)
    return [entry for entry in curve(program) if entry[0].endswith(("update", "add"))]


def test_temporaries_of_an_update_by_its_implementation() -> None:
    # As above, and AdamW keeps two copies of the 220 bytes of parameters: 300 + 24 + 4 + 220 + 440. In the
    # order of the parameters, 160 and 60 bytes. In between it needs two copies of what it updates, and the
    # first of the last one is still named (160); over lists a copy of all; in one kernel none, but two steps.
    there = 300 + 24 + 4 + 220 + 440
    assert updating("single") == [
        ("adamw_update", there + 2 * 160),
        ("adamw_update", there + 160 + 2 * 60),
    ]
    assert updating("foreach") == [("adamw_update", there + 160), ("adamw_update", there + 220)]
    assert updating("fused") == [
        ("add", there + 8),
        ("add", there + 8),
        ("fused_adamw_update", there + 8),
    ]


def test_the_implementation_is_what_the_backend_defaults_to() -> None:
    assert updating("auto") == updating("foreach")
    chosen = replace(TRAINING, optimizer=optimizer("adamw"), backend="cpu")
    assert curve(two_layers(chosen, in_place=False))[-2:] == updating("single")


def test_in_place_there_is_one_tensor_less() -> None:
    apart = dict(curve(two_layers(TRAINING, in_place=False))[1:2])
    over = curve(two_layers(TRAINING, in_place=True))
    assert apart["relu"] == 404
    assert over[1] == ("relu", 404 - 40)
    # of the rest nothing changes: backward reads the output, wherever it stands
    assert over[2:] == curve(two_layers(TRAINING, in_place=False))[2:]


def test_an_operator_in_place_carries_pytorchs_name() -> None:
    assert only(two_layers(INFERENCE, in_place=True), "relu").name == "relu_"


def relu6(workload: Workload) -> tuple[Tensor, Tensor]:
    net = Builder(workload)
    x = layers.linear(net, net.input((2, 4)), "fc", 4)
    y = layers.activation(net, x, "relu6", "hardtanh", in_place=True)
    return x, y


def test_what_backward_reads_is_not_written_over() -> None:
    # PyTorch's hardtanh_ copies its input first, since its derivative reads it
    x, y = relu6(TRAINING)
    assert x.storage != y.storage
    x, y = relu6(replace(INFERENCE, no_grad=False))  # which keeps it for a backward all the same
    assert x.storage != y.storage
    x, y = relu6(INFERENCE)
    assert x.storage == y.storage


def test_a_sum_in_place_is_written_over_its_first() -> None:
    net = Builder(TRAINING)
    x = layers.linear(net, net.input((2, 4)), "fc", 4)
    (left,), (right,) = net.op("relu", x), net.op("tanh", x)
    total = layers.add(net, left, right, in_place=True)
    assert total.storage == left.storage
    assert layers.add(net, left, right).storage not in (left.storage, right.storage)


def test_who_names_a_tensor_holds_it() -> None:
    def run(*, held: bool) -> Program:
        net = Builder(INFERENCE)
        x = layers.linear(net, net.input((2, 4)), "fc", 4)
        (first,) = net.op("tanh", x)
        with net.holding(first) if held else nullcontext():
            (x,) = net.op("relu", *net.op("sigmoid", first))
        return built(net, x)

    for program, end in ((run(held=False), "sigmoid"), (run(held=True), "relu")):
        (first,) = only(program, "tanh").outputs
        assert storage_of(program, first).death == place(program, end)


def test_a_leafs_gradient_that_goes_elsewhere_too_is_copied() -> None:
    # p + fc(x), both of one shape: the gradient goes to both. PyTorch clones it for p, as what it would
    # keep is shared. Then dW is made from the shared one.
    net = Builder(TRAINING)
    p = net.parameter("p", (2, 3))
    x = layers.linear(net, net.input((2, 4)), "fc", 3, bias=False)
    program = built(net, layers.add(net, x, p))
    copy = only(program, "clone", "backward")
    assert copy.outputs[0].role == "gradient"
    updated = {op.inputs[1].storage for op in program.ops if op.phase == "update"}
    assert copy.outputs[0].storage in updated
    assert copy.inputs[0].storage not in updated


def test_a_leafs_gradient_of_its_own_is_not_copied() -> None:
    net = Builder(TRAINING)
    p = net.parameter("p", (2, 3))
    program = built(net, layers.add(net, net.input((2, 3)), p))
    assert not [op for op in program.ops if op.kind == "clone"]


def test_what_a_rule_reads_is_free_when_all_of_it_has_run() -> None:
    # A linear layer with a bias runs three operators backward: dX, dW, and a sum for the bias. Its input is
    # last read by dW, but PyTorch lets go of what a node saved when the node is done.
    net = Builder(TRAINING)
    x = layers.linear(net, net.input((2, 4)), "one", 5)
    (saved,) = net.op("hardswish", x)  # whose own backward reads its input
    program = built(net, layers.linear(net, saved, "two", 3))
    last = [
        index
        for index, op in enumerate(program.ops)
        if op.phase == "backward" and op.scope == "two" and op.kind in ("matmul", "sum")
    ]
    assert [program.ops[index].kind for index in last] == ["matmul", "matmul", "sum"]
    assert storage_of(program, saved).death >= last[2]
    assert storage_of(program, saved).death < place(program, "hardswish_backward", "backward")


def test_the_mean_of_an_image_keeps_nothing_of_it() -> None:
    def kinds(size: int) -> list[str]:
        net = Builder(TRAINING)
        x = layers.convolution(net, net.input((2, 3, 8, 8)), "conv", 4, 3)
        (x,) = net.op("hardswish", x)
        x = layers.flatten(net, layers.global_average_pool(net, x, "pool", size))
        program = built(net, x)
        (image,) = only(program, "hardswish").outputs
        death = storage_of(program, image).death
        assert death is not None
        return [program.ops[death].phase, program.ops[death].kind]

    assert kinds(1) == ["forward", "adaptive_average_pool"]
    assert kinds(2) == ["backward", "adaptive_average_pool_backward"]


def test_parts_of_a_split_are_views_and_their_gradients_are_joined() -> None:
    net = Builder(TRAINING)
    x = layers.linear(net, net.input((2, 4)), "fc", 6, bias=False)
    first, second, third = net.op("split", x, axis=1, length=2)
    assert {first.storage, second.storage, third.storage} == {x.storage}
    program = built(net, layers.add(net, first, third))
    joined = only(program, "concatenate", "backward")
    # nothing flows back through the second: 2*2 zeros in its place
    assert [tensor.shape for tensor in joined.inputs] == [(2, 2)] * 3
    assert joined.outputs[0].shape == (2, 6)
