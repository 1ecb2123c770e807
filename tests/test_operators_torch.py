"""What PyTorch's operators are counted as: each against the sum by hand."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from weighbridge.analyses.compute import compute, op_costs  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.ops import Cost  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch


def traced(model, *shapes, dtype=None, batch=2, train=False):
    inputs = tuple(InputSpec(shape=shape, dtype=dtype) for shape in shapes)
    mode = "training" if train else "inference"
    workload = Workload(inputs=inputs, batch=batch, mode=mode, loss="mean", input_gradient=train)
    program = trace(model, workload, network="net", source="test")
    assert compute(program).uncounted == ()
    return program


def of_kind(program, kind):
    """The operators of a kind, and what they cost together."""
    found = [
        (op, cost)
        for op, cost in zip(program.ops, op_costs(program), strict=True)
        if op.kind == kind
    ]
    return [op for op, _ in found], Cost.total(cost for _, cost in found)


def macs(program):
    found = compute(program)
    return found.forward.macs, found.backward.macs


# -- stacked experts -------------------------------------------------------------------------------


class Experts(nn.Module):
    """Four experts that share the rows, each taking 8 numbers to 6."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.empty(4, 8, 6, device="meta"))

    def forward(self, x):
        rows = x.flatten(0, 1)
        ends = torch.full((4,), len(rows), dtype=torch.int32)
        return F.grouped_mm(rows, self.weights, offs=ends)


def test_stacked_experts_share_the_rows():
    if not hasattr(F, "grouped_mm"):
        pytest.skip("this PyTorch has no grouped_mm")
    program = traced(Experts(), (5, 8), train=True)
    # 2*5 rows, each of 8 numbers to the 6 of one expert; backward twice that
    assert macs(program) == (10 * 8 * 6, 2 * 10 * 8 * 6)
    products, _ = of_kind(program, "grouped_matmul")
    assert [op.outputs[0].shape for op in products] == [(10, 6), (10, 8), (4, 8, 6)]
    assert [op.phase for op in products] == ["forward", "backward", "backward"]
    assert [op.outputs[0].role for op in products][2] == "gradient"
    # 10 rows among 4 experts
    assert program.warnings == (
        "which expert a token goes to has no value here: 10 rows among 4 experts, 2.50 expected for each; "
        "what is counted is the same however they are shared",
    )


def test_frozen_experts_have_no_gradient():
    if not hasattr(F, "grouped_mm"):
        pytest.skip("this PyTorch has no grouped_mm")
    net = Experts()
    net.weights.requires_grad_(False)
    assert macs(traced(net, (5, 8), train=True)) == (480, 480)


def test_groups_of_equal_size_are_a_batch_of_products():
    if not hasattr(F, "grouped_mm"):
        pytest.skip("this PyTorch has no grouped_mm")
    program = traced(lambda x: F.grouped_mm(x, x.transpose(1, 2)), (3, 4))
    assert macs(program)[0] == 2 * 3 * 4 * 3


# -- products of vectors and sums of products ------------------------------------------------------


def test_a_matrix_times_a_vector():
    program = traced(lambda x: torch.mv(x, torch.ones(6)), (6,), batch=4)
    # 4 sums of 6 products
    _, cost = of_kind(program, "dot")
    assert (cost.macs, cost.additions) == (24, 4 * 5)
    _, cost = of_kind(traced(lambda x: torch.addmv(x[:, 0], x, x[0]), (6,), batch=4), "dot")
    assert (cost.macs, cost.additions) == (24, 4 * 5 + 4)


def test_the_product_of_two_vectors():
    _, cost = of_kind(traced(lambda x: torch.dot(x[0], x[1]), (6,)), "dot")
    assert (cost.macs, cost.additions) == (6, 5)


def test_an_outer_product_added():
    _, cost = of_kind(traced(lambda x: torch.addr(x, x[:, 0], x[0]), (6,)), "outer")
    # 2 by 6 products, each added to what is there
    assert (cost.macs, cost.additions) == (12, 12)


def test_a_sum_over_a_batch_of_products():
    program = traced(lambda x: torch.addbmm(x[0, :, :4], x, x.transpose(1, 2)), (4, 6), batch=3)
    # 3 products of (4, 6) with (6, 4); each of 16 sums has 3*6 products and the addend
    _, cost = of_kind(program, "summed_matmul")
    assert (cost.macs, cost.additions) == (3 * 4 * 6 * 4, 16 * (18 - 1) + 16)


def test_a_bilinear_layer_forward_and_backward():
    layer = nn.Bilinear(4, 5, 3)
    program = traced(lambda x, y: layer(x, y), (4,), (5,), train=True)
    # A sample: x^T W is 3*4*5 products, that times y is 3*5.
    forward, _ = macs(program)
    assert forward == 2 * (3 * 4 * 5 + 3 * 5)
    products, _ = of_kind(program, "trilinear")
    # of x, of the weights and of y
    assert sorted(op.outputs[0].shape for op in products if op.phase == "backward") == [
        (2, 4), (2, 5), (3, 4, 5)
    ]  # fmt: skip


def test_distances_of_a_few_points_and_of_many():
    _, cost = of_kind(traced(lambda x: torch.cdist(x, x), (9, 6)), "distance")
    # 2 * 9 * 9 pairs: 6 subtractions, 6 squares, 5 additions and a root
    pairs = 162
    assert (cost.macs, cost.multiplications) == (0, 6 * pairs)
    assert (cost.additions, cost.transcendentals) == (11 * pairs, pairs)
    # more than 25 points on either side become a product, of rows with two numbers more
    _, cost = of_kind(traced(lambda x: torch.cdist(x, x), (30, 6)), "distance")
    pairs = 2 * 30 * 30
    assert (cost.macs, cost.transcendentals) == (pairs * 8, pairs)
    # the product, the squares of both sides, and -2x
    assert cost.multiplications == pairs * 8 + 2 * (2 * 30 * 6) + 2 * 30 * 6


# -- linear algebra --------------------------------------------------------------------------------


def by_elimination(n):
    """LU by the definition: multiplications, divisions."""
    products = divisions = 0
    for k in range(n):
        for _ in range(k + 1, n):
            divisions += 1
            products += n - 1 - k
    return products, divisions


def by_cholesky(n):
    """Cholesky by the definition: multiplications, divisions, roots."""
    products = divisions = roots = 0
    for j in range(n):
        products += j  # squares under the root
        roots += 1
        for _ in range(j + 1, n):
            products += j
            divisions += 1
    return products, divisions, roots


def test_factorisations_are_counted_as_by_hand():
    positive = traced(lambda x: torch.linalg.cholesky(x @ x.mT), (6, 6))
    _, cost = of_kind(positive, "cholesky")
    found = (cost.multiplications, cost.divisions, cost.transcendentals)
    assert found == tuple(2 * number for number in by_cholesky(6))
    assert cost.additions == cost.multiplications
    products, divisions = by_elimination(6)
    _, cost = of_kind(traced(torch.linalg.det, (6, 6)), "determinant")
    assert (cost.multiplications, cost.divisions) == (2 * (products + 5), 2 * divisions)


def test_solutions_are_counted_as_by_hand():
    # A triangle of 6: row i takes i products and a division; L has ones on its diagonal.
    triangle = sum(range(6))
    products, divisions = by_elimination(6)
    _, cost = of_kind(traced(lambda x: torch.linalg.solve(x, x[..., :3]), (6, 6)), "solve")
    assert cost.multiplications == 2 * (products + 3 * 2 * triangle)
    assert cost.divisions == 2 * (divisions + 3 * 6)
    upper = traced(lambda x: torch.linalg.solve_triangular(x, x[..., :3], upper=True), (6, 6))
    _, cost = of_kind(upper, "solve")
    assert (cost.multiplications, cost.divisions) == (2 * 3 * triangle, 2 * 3 * 6)
    _, cost = of_kind(traced(torch.linalg.inv, (6, 6)), "inverse")
    assert cost.multiplications == 2 * (products + 6 * 2 * triangle)


# -- complex numbers and spectra -------------------------------------------------------------------


def test_a_complex_product_is_four_multiplications_and_two_additions():
    program = traced(lambda x: (torch.complex(x, x) * torch.complex(x, -x)).real, (5,))
    _, cost = of_kind(program, "mul")
    assert (cost.multiplications, cost.additions) == (4 * 10, 2 * 10)
    _, cost = of_kind(traced(lambda x: (torch.complex(x, x) * 2.0).real, (5,)), "mul")
    assert (cost.multiplications, cost.additions) == (2 * 10, 0)
    _, cost = of_kind(
        traced(lambda x: (torch.complex(x, x) + torch.complex(x, x)).real, (5,)), "add"
    )
    assert cost.additions == 2 * 10
    _, cost = of_kind(traced(lambda x: torch.complex(x, x).abs(), (5,)), "modulus")
    assert (cost.multiplications, cost.additions, cost.transcendentals) == (20, 10, 10)


def test_a_complex_matrix_product_is_four_real_ones():
    program = traced(lambda x: (torch.complex(x, x) @ torch.complex(x, x).mT).real, (3, 4))
    _, cost = of_kind(program, "matmul")
    # 2 * 3*3 sums of 4 products; each part of a sum adds up 8 real products
    assert (cost.macs, cost.additions) == (4 * 2 * 9 * 4, 2 * 2 * 9 * 7)


def test_a_spectrum_of_sixteen():
    _, cost = of_kind(
        traced(lambda x: torch.fft.fft(torch.complex(x, x)).real, (16,)), "fourier_transform"
    )
    # 2 rows of 16: 16/2 * log2 16 = 32 butterflies each, of 4 multiplications and 6 additions
    assert (cost.multiplications, cost.additions) == (4 * 64, 6 * 64)
    ops, cost = of_kind(
        traced(lambda x: torch.fft.irfft2(torch.fft.rfft2(x)), (16, 16)), "fourier_transform"
    )
    assert [op.outputs[0].shape for op in ops] == [(2, 16, 9), (2, 16, 16)]
    # 256 numbers, 8 halvings of both axes, real: 256/2 * 8 / 2 = 512 butterflies, twice, of 2 images
    assert cost.multiplications == 4 * 512 * 2 * 2


# -- indices, windows, bags ------------------------------------------------------------------------


def test_scattered_values_are_added_compared_or_written():
    places = torch.zeros(2, 3, dtype=torch.int64)
    zeros = torch.zeros(2, 6)

    def cost_of(write):
        return of_kind(traced(write, (3,)), "scatter")[1]

    assert cost_of(lambda x: zeros.scatter(1, places, x)).operations == 0
    assert cost_of(lambda x: zeros.scatter_add(1, places, x)).additions == 6
    assert cost_of(lambda x: zeros.scatter_reduce(1, places, x, "amax")).comparisons == 6
    plain = cost_of(lambda x: x.scatter(1, places, 1.0))
    # reads six indices of eight bytes and copies six numbers of four, then writes six
    assert (plain.read_bytes, plain.write_bytes) == (6 * 8 + 24, 24 + 24)


def test_order():
    # rows of 6: 6 * ceil(log2 6) = 18 comparisons
    assert of_kind(traced(lambda x: x.sort(-1)[0], (6,)), "sort")[1].comparisons == 36
    assert of_kind(traced(lambda x: x.median(), (6,)), "sort")[1].comparisons == 12 * 4
    edges = torch.arange(7.0)
    # 7 edges: 3 halvings of the 8 places between them
    assert of_kind(traced(lambda x: torch.bucketize(x, edges), (6,)), "search")[1].comparisons == 36


def test_windows_taken_apart_are_put_together_by_addition():
    program = traced(lambda x: F.unfold(x, 3), (4, 8, 8), train=True)
    (back,), cost = of_kind(program, "fold")
    # 4 * 9 numbers at 6 * 6 places
    assert back.outputs[0].shape == (2, 4, 8, 8)
    assert cost.additions == 2 * 4 * 9 * 36


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_what_was_padded_is_added_up(mode):
    program = traced(lambda x: F.pad(x, (1, 1, 2, 2), mode=mode), (4, 8, 8), train=True)
    assert of_kind(program, "fold")[1].additions == 2 * 4 * 12 * 10


def test_bags():
    bag = nn.EmbeddingBag(100, 8, mode="mean")
    program = traced(bag, (5,), dtype="int64", train=True)
    _, cost = of_kind(program, "embedding_bag")
    # 2 bags of 5 rows of 8: 4 additions and a division a number
    assert (cost.additions, cost.divisions) == (2 * 4 * 8, 2 * 8)
    _, cost = of_kind(program, "embedding_bag_backward")
    assert (cost.additions, cost.divisions) == (10 * 8, 2 * 8)
    largest = nn.EmbeddingBag(100, 8, mode="max")
    _, cost = of_kind(traced(largest, (5,), dtype="int64"), "embedding_bag")
    assert (cost.additions, cost.comparisons) == (0, 2 * 4 * 8)


def test_images_made_smaller_without_skipping():
    def smaller(x):
        return F.interpolate(x, size=(4, 8), mode="bilinear", antialias=True)

    _, cost = of_kind(traced(smaller, (3, 8, 8), train=True), "smooth_upsample")
    # across: no change, 2 taps for 8 rows of 8; down: half, 4 taps for 4 rows of 8
    assert cost.multiplications == 2 * 3 * (8 * 8 * 2 + 4 * 8 * 4)


def test_places_of_an_affine_map():
    maps = torch.ones(2, 2, 3)
    size = (2, 4, 5, 6)
    program = traced(lambda x: F.affine_grid(maps, size, align_corners=False) + x, (1, 1, 1))
    # 30 points, two coordinates each of three products
    assert of_kind(program, "affine_grid")[1].macs == 2 * 30 * 2 * 3


# -- gradients that nobody asked for ---------------------------------------------------------------


def backward_of(net, *frozen, wants_input=False):
    """The shapes of the gradients that one layer's backward operator makes, of an image 2 x 3 x 4 x 4."""
    for name in frozen:
        getattr(net, name).requires_grad_(False)
    workload = Workload(
        inputs=(InputSpec(shape=(3, 4, 4)),), batch=2, mode="training", loss="mean", input_gradient=wants_input
    )  # fmt: skip
    program = trace(net, workload, network="net", source="test")
    found = [
        op for op in program.ops if op.kind.endswith(("norm_backward", "convolution_backward"))
    ]
    (op,) = found
    return [tensor.shape for tensor in op.outputs], of_kind(program, op.kind)[1]


def test_only_gradients_that_are_wanted_take_memory():
    image, weight = (2, 3, 4, 4), (3,)
    assert backward_of(nn.BatchNorm2d(3))[0] == [weight, weight]
    assert backward_of(nn.BatchNorm2d(3), wants_input=True)[0] == [image, weight, weight]
    assert backward_of(nn.BatchNorm2d(3), "weight", wants_input=True)[0] == [image, weight]
    assert backward_of(nn.BatchNorm2d(3, affine=False), wants_input=True)[0] == [image]
    assert backward_of(nn.GroupNorm(1, 3), "weight")[0] == [weight]
    assert backward_of(nn.LayerNorm((4, 4)), "bias")[0] == [(4, 4)]
    assert backward_of(nn.Conv2d(3, 5, 1), "weight")[0] == [(5,)]


def test_only_gradients_that_are_wanted_are_counted():
    # 96 numbers, 3 channels. The bias': 96 - 3 additions. The weight's: (x - mean) * inv, times dy, summed.
    _, cost = backward_of(nn.BatchNorm2d(3), "weight")
    assert (cost.multiplications, cost.additions) == (0, 93)
    _, cost = backward_of(nn.BatchNorm2d(3), "bias")
    assert (cost.multiplications, cost.additions) == (2 * 96, 96 + 93)
    # group norm, 2 rows: of the weight alone as above; of the input alone xhat, g = dy * weight, two sums a row
    # (one of products), and the three terms of dx
    _, cost = backward_of(nn.GroupNorm(1, 3), "bias")
    assert (cost.multiplications, cost.additions, cost.divisions) == (2 * 96, 96 + 93, 0)
    _, cost = backward_of(nn.GroupNorm(1, 3), "weight", "bias", wants_input=True)
    assert (cost.multiplications, cost.divisions) == (5 * 96, 2 * 2)
    assert cost.additions == 96 + 2 * (96 - 2) + 2 * 96


# -- batch norm under its other names --------------------------------------------------------------


def test_batch_norm_under_whatever_name():
    aten = torch.ops.aten
    one = torch.ones(3)

    def training(call):
        (op,), _ = of_kind(traced(call, (3, 4, 4)), "batch_norm")
        return op.attributes["training"]

    assert training(lambda x: aten._batch_norm_with_update(x, one, one, one, one, 0.0, 1e-5)[0])
    assert training(
        lambda x: aten._native_batch_norm_legit.no_stats(x, one, one, True, 0.1, 1e-5)[0]
    )
    assert not training(
        lambda x: aten._native_batch_norm_legit_no_training(x, one, one, one, one, 0.1, 1e-5)[0]
    )


# -- einsum ----------------------------------------------------------------------------------------


def test_einsum_with_a_parameter():
    weight = nn.Parameter(torch.empty(4, 8, 6))
    program = traced(lambda x: torch.einsum("bti,hij->bhtj", x, weight), (5, 8), train=True)
    # 2*5 rows of 8 to 4 times 6; backward twice that
    assert macs(program) == (10 * 8 * 24, 2 * 10 * 8 * 24)


# -- computing again -------------------------------------------------------------------------------


@pytest.mark.parametrize(("reentrant", "again"), [(False, 1), (True, 2)])
def test_checkpointing_computes_forward_again_in_backward(reentrant, again):
    """Not reentrant, it stops when everything is there that backward needs: before the last product."""

    from torch.utils.checkpoint import checkpoint

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=reentrant)

    forward, backward = macs(program := traced(Net(), (8,), train=True))
    # 2 rows of 8 to 8, twice; backward what is computed again, then for the input and for the weights
    assert (forward, backward) == (2 * 2 * 64, (again + 4) * 2 * 64)
    products = [op for op in program.phase("backward") if op.kind == "matmul"]
    assert {op.scope for op in products} == {"inner.0", "inner.2"}


# -- derivatives forward ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")  # PyTorch's own, while it loads this
def test_a_derivative_along_a_direction():
    layer = nn.Linear(4, 3)
    program = traced(lambda x: torch.func.jvp(layer, (x,), (torch.ones_like(x),))[1], (4,))
    # y = W x + b, W dx, and x times the weights' own direction, which is zero and multiplied by all the same
    assert macs(program) == (3 * 2 * 4 * 3, 0)


def test_a_function_whose_weights_turn_up_inside_a_transform():
    layer = nn.Linear(4, 3)
    program = traced(torch.func.vmap(torch.func.grad(lambda x: layer(x).sum())), (4,))
    # forward, and the gradient of x
    assert macs(program) == (2 * 4 * 3, 2 * 4 * 3)
    assert {tensor.name for tensor in program.parameters} == {"linear.weight", "linear.bias"}
