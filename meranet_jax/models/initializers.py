"""PyTorch's default initialisation of convolutions and dense layers."""

import math

import flax.linen as nn
import jax

# Uniform between -1 / sqrt(N) and 1 / sqrt(N), where N is the number of inputs of an
# output.
torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def torch_bias(inputs: int) -> nn.initializers.Initializer:
    """Returns the initialiser of biases of a layer with N inputs of an output."""
    bound = 1 / math.sqrt(inputs)

    def init(key, shape, dtype=float):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
