"""Space: L1 to L8, by the lecture's own formulas with small numbers."""

from __future__ import annotations

import pytest

from weighbridge import layers
from weighbridge.analyses.parameters import parameters
from weighbridge.analyses.space import Textbook, learning_rules, model_space, optimizer_space, space
from weighbridge.builder import Builder
from weighbridge.errors import UsageError
from weighbridge.ops.optimizers import optimizer
from weighbridge.program import Program
from weighbridge.workload import Workload


def fully_connected(n: int, k: int, workload: Workload) -> Program:
    net = Builder(workload)
    x = layers.linear(net, net.input((workload.batch, n)), "fc", k)
    return net.build(network="fc", source="test", frontend="test", outputs=(x,))


def convolution(c: int, size: int, k: int, width: int, workload: Workload) -> Program:
    net = Builder(workload)
    x = layers.convolution(net, net.input((workload.batch, c, size, size)), "conv", k, width)
    return net.build(network="conv", source="test", frontend="test", outputs=(x,))


def test_l1_l2_parameters() -> None:
    # (n+1)k and (cwh+1)k; a fully connected layer is the convolution whose kernel covers its input
    assert parameters(fully_connected(100, 10, Workload())).total == 101 * 10
    assert parameters(convolution(3, 8, 6, 5, Workload())).total == (3 * 25 + 1) * 6
    assert parameters(convolution(4, 5, 10, 5, Workload())).total == 101 * 10


def test_l3_model_space_is_parameters_times_bytes() -> None:
    sizes = model_space(1001)
    assert sizes["float64"] == 8008
    assert sizes["float32"] == 4004
    assert sizes["float16"] == sizes["bfloat16"] == sizes["int16"] == 2002
    assert sizes["int8"] == sizes["float8"] == 1001
    assert sizes["int4"] == 501  # half a byte each, rounded up
    assert sizes["mixed (bfloat16 + float32 master)"] == 6006


@pytest.mark.parametrize(("dtype", "p"), [("float32", 4), ("float64", 8), ("float16", 2)])
def test_l4_one_sample(dtype: str, p: int) -> None:
    # 2*((n+1)k + n + k) numbers
    n, k = 100, 10
    found = space(fully_connected(n, k, Workload(dtype=dtype))).textbook
    assert found.per_sample_gradients_bytes == p * 2 * ((n + 1) * k + n + k)
    assert found.summed_gradients_bytes == found.per_sample_gradients_bytes


def test_l5_a_batch_by_both_accountings() -> None:
    n, k, batch, p = 100, 10, 32, 4
    found = space(fully_connected(n, k, Workload(batch=batch))).textbook
    w = (n + 1) * k
    assert found.per_sample_gradients_bytes == p * (w + batch * (w + 2 * n + 2 * k))
    assert found.summed_gradients_bytes == p * (2 * w + batch * (2 * n + 2 * k))


def test_l5_training_changes_nothing_on_paper() -> None:
    workload = Workload(mode="training", batch=32, optimizer=optimizer("sgd"))
    assert (
        space(fully_connected(100, 10, workload)).textbook
        == space(fully_connected(100, 10, Workload(batch=32))).textbook
    )


def test_l6_a_convolution() -> None:
    # input c*M*N, kernels k*(c*w*h+1), output k*(M-w+1)*(N-h+1), each twice
    c, m, k, w = 3, 32, 6, 5
    found = space(convolution(c, m, k, w, Workload())).textbook
    numbers = c * m * m + k * (c * w * w + 1) + k * (m - w + 1) ** 2
    assert found.summed_gradients_bytes == 4 * 2 * numbers


def test_activations_count_once_what_views_and_layers_share() -> None:
    # image 2x4x4 -> conv 3 kernels of 3 -> 3x2x2 = 12 numbers -> flatten (a view) -> fc 5
    net = Builder(Workload())
    x = layers.convolution(net, net.input((1, 2, 4, 4)), "conv", 3, 3)
    x = layers.linear(net, layers.flatten(net, x), "fc", 5)
    found = space(net.build(network="n", source="t", frontend="t", outputs=(x,)))
    assert found.activation_bytes == 4 * (12 + 5)
    assert found.textbook.activation_bytes == 4 * (32 + 12 + 5)


def test_what_backward_reads_is_saved() -> None:
    # fc 8 -> 5, ReLU, fc 5 -> 3 on a batch of 2, cross-entropy. Backward reads the ReLU's output (10 numbers,
    # for its own gradient and the second layer's), the log-probabilities (6) and the total weight (1).
    net = Builder(Workload(mode="training", batch=2, optimizer=optimizer("sgd")))
    x = layers.activation(net, layers.linear(net, net.input((2, 8)), "one", 5), "relu")
    x = layers.linear(net, x, "two", 3)
    found = space(net.build(network="n", source="t", frontend="t", outputs=(x,)))
    assert found.saved_bytes == 4 * (10 + 6 + 1)


def test_gradients_and_state_are_there_in_training_alone() -> None:
    w = 4 * 101 * 10
    trained = space(
        fully_connected(100, 10, Workload(mode="training", optimizer=optimizer("adam")))
    )
    assert (trained.weights_bytes, trained.gradient_bytes, trained.optimizer_state_bytes) == (
        w,
        w,
        2 * w,
    )
    resting = space(fully_connected(100, 10, Workload()))
    assert (resting.gradient_bytes, resting.optimizer_state_bytes, resting.saved_bytes) == (0, 0, 0)


def test_l7_every_optimizer_on_one_network() -> None:
    sizes = optimizer_space(fully_connected(100, 10, Workload()))
    w = 4 * 1010
    assert sizes["sgd"] == 0
    assert sizes["momentum"] == sizes["nesterov"] == sizes["lion"] == sizes["rmsprop"] == w
    assert sizes["adam"] == sizes["adamw"] == 2 * w
    # weight (10, 100): 10 rows and 100 columns; bias (10): an element each
    assert sizes["adafactor"] == 4 * (10 + 100 + 10)


def test_l8_learning_rules() -> None:
    # 1,000 samples by 32: 1000, ceil(1000/32) = 32 and 1 updates an epoch
    textbook = Textbook(batch=32, weights_bytes=100, activation_bytes=32 * 10)
    sample, batch, epoch = learning_rules(textbook, 1000)
    assert [rule.updates_per_epoch for rule in (sample, batch, epoch)] == [1000, 32, 1]
    assert [rule.samples_at_once for rule in (sample, batch, epoch)] == [1, 32, 1000]
    # W + B(W + 2A) and 2W + 2AB with W = 100, A = 10
    assert sample.per_sample_gradients_bytes == 100 + 100 + 20
    assert batch.per_sample_gradients_bytes == 100 + 32 * 120
    assert epoch.summed_gradients_bytes == 200 + 1000 * 20


def test_a_data_set_smaller_than_the_batch_is_refused() -> None:
    with pytest.raises(UsageError, match="a data set of 10 samples has no batch of 32"):
        learning_rules(Textbook(batch=32, weights_bytes=1, activation_bytes=32), 10)
