import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from meranet_jax import ChannelAttention, Conv3D, SpatioTemporalAttention
from meranet_jax.models.maximum import argmax


def clips(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_channel_attention_is_equations_6_to_9():
    x = clips(2, 3, 4, 5, 32)
    attention = ChannelAttention(reduction=16)
    y, variables = attention.init_with_output(jax.random.key(0), x)
    params = variables["params"]
    squeeze, excite = (params[n]["kernel"][0, 0, 0] for n in ("squeeze", "excite"))
    assert squeeze.shape == (32, 2)
    average, maximum = x.mean((1, 2, 3)), x.max((1, 2, 3))
    shared = [np.maximum(p @ squeeze, 0) @ excite for p in (average, maximum)]
    scale = sigmoid(shared[0] + shared[1])
    np.testing.assert_allclose(y, x * scale[:, None, None, None], rtol=1e-5, atol=1e-6)


def test_shared_networks_are_equal_without_bias():
    x = clips(2, 3, 4, 5, 32)
    cnn, mlp = ChannelAttention(shared="cnn"), ChannelAttention(shared="mlp")
    params = mlp.init(jax.random.key(0), x)["params"]
    assert not any(layer["bias"].any() for layer in params.values())
    kernels = {n: {"kernel": p["kernel"][None, None, None]} for n, p in params.items()}
    np.testing.assert_allclose(
        mlp.apply({"params": params}, x),
        cnn.apply({"params": kernels}, x),
        rtol=1e-5,
        atol=1e-6,
    )


def test_at_least_one_channel_is_kept():
    params = ChannelAttention(reduction=16).init(
        jax.random.key(0), clips(1, 2, 2, 2, 8)
    )
    assert params["params"]["squeeze"]["kernel"].shape == (1, 1, 1, 8, 1)


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_spatio_temporal_attention_is_equations_1_to_5(kernel_size):
    x = clips(2, 4, 5, 6, 8)
    attention = SpatioTemporalAttention(kernel_size)
    y, variables = attention.init_with_output(jax.random.key(0), x)
    kernel = variables["params"]["map"]["kernel"]
    assert kernel.shape == (kernel_size,) * 3 + (2, 1)
    descriptor = np.stack([x.mean(-1), x.max(-1)], -1)
    half = kernel_size // 2
    padded = np.pad(descriptor, ((0, 0), *((half, half),) * 3, (0, 0)))
    logits = np.zeros(x.shape[:4])
    for t, h, w in np.ndindex(4, 5, 6):
        window = padded[
            :, t : t + kernel_size, h : h + kernel_size, w : w + kernel_size
        ]
        logits[:, t, h, w] = (window * kernel[..., 0]).sum((1, 2, 3, 4))
    expected = x * sigmoid(logits)[..., None]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_first_of_equal_maxima_has_the_gradient():
    attention = SpatioTemporalAttention(3)
    x = jnp.ones((1, 1, 1, 1, 4))
    variables = attention.init(jax.random.key(0), x)
    gradient = jax.grad(lambda x: attention.apply(variables, x).sum())(x).ravel()
    # Only the first of the four equal channels is the maximum.
    assert gradient[1] == gradient[2] == gradient[3] != gradient[0]


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 24, 5), 1), ((2, 3, 7), 2), ((1,), 0)]
)
def test_the_first_maximum_is_found(shape, axis):
    # Few different values, so that most maxima are repeated, and one NaN.
    x = np.random.default_rng(0).integers(0, 3, shape).astype(np.float32)
    x.flat[-1] = np.nan
    index = argmax(jnp.asarray(x), axis)
    np.testing.assert_array_equal(index, x.argmax(axis, keepdims=True))


class Normalised(nn.Module):
    """The operations before and around the maxima in a block."""

    convolved: bool

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(Conv3D, lowering="primitive")
        if self.convolved:
            x = conv(32, (1, 1, 1))(x)
        x = nn.BatchNorm(use_running_average=False)(x)
        return SpatioTemporalAttention(conv=conv)(ChannelAttention(conv=conv)(x))


@pytest.mark.parametrize(
    ("convolved", "frames"),
    [(True, 8), pytest.param(False, 4, marks=pytest.mark.slow), (False, 8)],
)
def test_gradient_of_maximum_is_correct_under_jit(convolved, frames):
    """With x.max() the error is up to 4 %, see docs/gradients.md."""
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (2, frames, 14, 14, 32), jnp.float64)
        module = Normalised(convolved)
        variables = jax.jit(module.init)(jax.random.key(1), x)
        variables = jax.tree.map(lambda leaf: leaf.astype(x.dtype), variables)
        weights = jax.random.normal(jax.random.key(3), x.shape, x.dtype)

        def weighted(x):
            y, _ = module.apply(variables, x, mutable=["batch_stats"])
            return (y * weights).sum()

        compiled = jax.jit(jax.grad(weighted))
        reference = jax.grad(weighted)(x)
        scale = jnp.linalg.norm(reference)
        assert jnp.linalg.norm(compiled(x) - reference) < 1e-12 * scale
        nudged = compiled(x * (1 + 1e-12))
        assert jnp.linalg.norm(nudged - compiled(x)) < 1e-10 * scale


@pytest.mark.parametrize(
    "attention", [ChannelAttention(reduction=2), SpatioTemporalAttention(3)]
)
def test_gradient_is_correct_if_the_input_has_another_use(attention):
    """With x.max() the errors are 56 and 4 %, see docs/gradients.md."""
    x, scale, shift = clips(2, 4, 6, 6, 8), clips(8, seed=1), clips(8, seed=2)
    variables = attention.init(jax.random.key(0), x)

    def loss(x):
        # A single use of y is contracted to a multiply-add, but not with another use.
        y = x * scale
        return (y**2 * attention.apply(variables, y + shift)).sum()

    reference = jax.grad(loss)(x)
    difference = jax.jit(jax.grad(loss))(x) - reference
    assert jnp.linalg.norm(difference) < 1e-5 * jnp.linalg.norm(reference)


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        (ChannelAttention(shared="rnn"), "'cnn' or 'mlp'"),
        (SpatioTemporalAttention(4), "kernel_size=4 is even; choose an odd number"),
    ],
)
def test_invalid_attributes_are_refused(attention, message):
    with pytest.raises(ValueError, match=message):
        attention.init(jax.random.key(0), clips(1, 2, 2, 2, 16))
