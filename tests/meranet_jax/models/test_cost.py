import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import lax

from meranet_jax.models import cost
from meranet_jax.models.conv import Conv3D
from meranet_jax.models.layers import layer_groups, layers, map_layers, trace
from meranet_jax.models.meranet import MERANet


def convolve(x, kernel, padding="VALID"):
    return lax.conv_general_dilated(
        x, kernel, (1, 1, 1), padding, dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )


def test_operations_of_a_convolution_agree_with_xla():
    # Without padding the counts are equal: [4, 8, 8, 6] of 3 x 3 x 3 voxels, 5 channels
    x, kernel = jnp.zeros((1, 6, 10, 10, 5)), jnp.zeros((3, 3, 3, 5, 6))
    counted = cost.count(convolve, x, kernel)
    assert counted.operations == 2 * 4 * 8 * 8 * 6 * 27 * 5
    assert counted.outputs == 4 * 8 * 8 * 6
    compiled = jax.jit(convolve).lower(x, kernel)
    assert compiled.cost_analysis()["flops"] == pytest.approx(counted.operations)


def test_operations_in_loops_and_calls_are_counted():
    matrix = jnp.zeros((4, 4))

    @jax.jit
    def product(x):
        return matrix @ x

    def looped(x):
        return lax.scan(lambda x, _: (jax.checkpoint(product)(x), None), x, length=3)

    counted = cost.count(looped, jnp.zeros((4, 2)))
    assert counted.operations == 3 * 2 * 4 * 4 * 2
    assert counted.outputs == 3 * 4 * 2


class Other(nn.Module):
    """A network of a user: a convolution, and a dense layer on its mean."""

    num_classes: int = 2

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Conv(4, (3, 3, 3), name="features")(x)
        x = nn.LayerNorm(name="norm")(x)
        return nn.Dense(self.num_classes, name="head")(x.mean((1, 2, 3)))


def test_operations_parameters_and_layers_of_any_network():
    shape = (2, 4, 4, 3)
    counted = cost.forward(Other(), shape)
    # 27 taps of 3 channels for each of 32 voxels and 4 features; then 4 x 2
    assert counted.operations == 2 * (32 * 4 * 27 * 3 + 4 * 2)
    assert cost.parameters(Other(), shape) == 27 * 3 * 4 + 4 + 8 + 4 * 2 + 2
    assert [layer.name for layer in layers(Other(), shape)] == [
        "features",
        "norm",
        "head",
    ]
    assert map_layers(Other(), shape) == ["features"]
    assert layer_groups(Other(), shape) == [["features", "norm"], ["head"]]


class OfConv3D(nn.Module):
    """A network of a user that has no setting for the form of a convolution."""

    @nn.compact
    def __call__(self, x, *, train):
        x = Conv3D(4, (3, 5, 3), (1, 2, 1))(x)
        return Conv3D(2, (1, 1, 1))(x).mean((1, 2, 3))


def test_convolutions_of_any_network_are_counted_whatever_their_form(monkeypatch):
    counted = cost.forward(OfConv3D(), (2, 4, 4, 3))
    # 45 taps of 3 channels for each of 16 voxels and 4 features; then 4 x 2 for each
    assert counted.operations == 2 * 16 * (4 * 45 * 3 + 4 * 2)
    assert counted.outputs == 16 * (4 + 2)
    model = MERANet(num_classes=3, width=4, stage_sizes=(1, 1))
    shape = (4, 16, 16, 3)
    assert cost.forward(model, shape) == cost.forward(
        model.clone(lowering="primitive"), shape
    )


def test_layers_of_meranet_are_in_order():
    model = MERANet(num_classes=3, width=4, stage_sizes=(1, 2), remat=True)
    blocks = ["block1_1", "block2_1", "block2_2"]
    assert map_layers(model, (8, 16, 16, 3)) == ["stem", *blocks]
    groups = [["stem", "stem_norm"], *([block] for block in blocks), ["head"]]
    assert layer_groups(model, (8, 16, 16, 3)) == groups


@pytest.mark.parametrize("statistics", [True, False])
def test_traced_shapes_are_those_of_the_initialised_network(statistics):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            x = nn.Conv(2, (1, 3, 3), (1, 2, 2))(x)
            if statistics:
                x = nn.BatchNorm(not train)(x)
            self.sow("channel_weights", "weights", x)
            return nn.Dense(3)(x.mean((1, 2, 3)))

    output, weights = trace(Model(), (4, 8, 8, 2))
    variables = Model().init(jax.random.key(0), jnp.zeros((1, 4, 8, 8, 2)), train=False)
    expected = {n: variables.get(n, {}) for n in ("params", "batch_stats")}
    assert jax.tree.map(lambda a: (a.shape, a.dtype), weights) == jax.tree.map(
        lambda a: (a.shape, a.dtype), expected
    )
    assert bool(weights["batch_stats"]) == statistics
    assert (output.shape, output.dtype) == ((1, 3), jnp.float32)
