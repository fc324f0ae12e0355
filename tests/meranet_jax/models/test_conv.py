import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from meranet_jax import Conv3D
from meranet_jax.models import conv
from meranet_jax.models.convolution import lowerings, planes
from meranet_jax.models.convolution.shapes import Options

# Input [T, H, W, C], kernel size, output channels, strides.
LAYERS = {
    "stem": ((4, 12, 14, 3), (3, 7, 7), 5, (1, 2, 2)),
    "stem, odd": ((3, 13, 11, 3), (3, 7, 7), 4, (1, 2, 2)),
    "block": ((4, 6, 5, 7), (3, 3, 3), 6, (1, 1, 1)),
    "block, one frame": ((1, 5, 5, 4), (3, 3, 3), 8, (1, 1, 1)),
    "downsample": ((4, 6, 8, 5), (3, 3, 3), 6, (2, 2, 2)),
    "downsample, odd": ((5, 7, 9, 5), (3, 3, 3), 6, (2, 2, 2)),
    "downsample, even": ((4, 6, 7, 5), (2, 2, 2), 6, (2, 2, 2)),
    "downsample, taps missing": ((5, 7, 8, 3), (2, 1, 3), 4, (3, 2, 3)),
    "projection": ((4, 6, 8, 5), (1, 1, 1), 6, (2, 2, 2)),
    "projection, odd": ((5, 7, 9, 5), (1, 1, 1), 6, (2, 2, 2)),
    "pointwise": ((4, 6, 8, 5), (1, 1, 1), 6, (1, 1, 1)),
    "attention map 3": ((4, 6, 7, 2), (3, 3, 3), 1, (1, 1, 1)),
    "attention map 5": ((4, 6, 7, 2), (5, 5, 5), 1, (1, 1, 1)),
    "even taps, few channels": ((4, 6, 7, 2), (2, 2, 2), 1, (1, 1, 1)),
    "attention map 7, larger than its input": ((2, 3, 4, 2), (7, 7, 7), 1, (1, 1, 1)),
}
# Thresholds that select one form for a layer, and what the gradient of the kernel is
# scanned over in this form.
FORMS = {
    "patches, the batch at once": ({"_FEW_ROWS": 10**9, "_ROWS": 10**9}, None),
    "folded, a sample at a time by rows": (
        {"_ROWS": 0, "_CACHED_BYTES": 10**12, "_FEW_INPUTS": 0},
        "samples",
    ),
    "a plane at a time": ({"_ROWS": 0, "_CACHED_BYTES": 0}, "planes"),
    "joined, a sample at a time": (
        {"_ROWS": "a sample", "_MANY_FEATURES": 0, "_FEW_INPUTS": 10**9},
        "samples",
    ),
}


def set_form(monkeypatch, form, x, strides):
    thresholds, scanned = FORMS[form]
    monkeypatch.setattr(planes, "_FEW_ROWS", 0)
    for name, value in thresholds.items():
        if value == "a sample":
            depth, height, width = x.shape[1:4]
            value = -(-depth // strides[0]) * -(-height // strides[1])
            value *= -(-width // strides[2])
        monkeypatch.setattr(planes, name, value)
    return scanned


def make(layer, dtype=np.float64):
    shape, kernel_size, features, strides = LAYERS[layer]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape)).astype(dtype)
    kernel = rng.normal(size=(*kernel_size, shape[-1], features)).astype(dtype)
    return x, kernel, strides


def value_and_gradients(x, kernel, strides, lowering):
    """Returns the convolution and the gradients of a weighted sum of its outputs."""

    def weighted(x, kernel):
        y = conv.conv3d(x, kernel, strides=strides, lowering=lowering)
        weights = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        return (y * weights).sum(), y

    function = jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True)
    (_, y), gradients = jax.jit(function)(x, kernel)
    return y, *gradients


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_all_forms_compute_the_same_convolution(layer, form, monkeypatch):
    with jax.enable_x64(True):
        x, kernel, strides = make(layer)
        set_form(monkeypatch, form, x, strides)
        found = value_and_gradients(x, kernel, strides, "planes")
        expected = value_and_gradients(x, kernel, strides, "primitive")
        for actual, reference in zip(found, expected, strict=True):
            assert actual.shape == reference.shape
            np.testing.assert_allclose(actual, reference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layer", ["block", "downsample"])
def test_thresholds_select_each_form(layer, form, monkeypatch):
    x, kernel, strides = make(layer, np.float32)
    scanned = set_form(monkeypatch, form, x, strides)
    length = {None: None, "samples": 2, "planes": 2 * 4}[scanned]
    if layer == "downsample" and form != "joined, a sample at a time" and scanned:
        length = 2 * 2  # planes of the output
    options = Options(strides, pads=((1, 1), (1, 1), (1, 1)))
    gradient = planes.convolution(x, kernel, options)
    kernel_gradient = functools.partial(
        planes.kernel_gradient, options=options, kernel_size=(3, 3, 3)
    )
    jaxpr = str(jax.make_jaxpr(kernel_gradient)(x, gradient))
    assert ("scan[" in jaxpr) == (scanned is not None)
    if length:
        assert f"length={length}" in jaxpr


def test_attention_maps_use_a_banded_matrix():
    x, kernel, _ = make("attention map 5", np.float32)
    options = Options((1, 1, 1), pads=((2, 2),) * 3)
    convolution = functools.partial(planes.convolution, options=options)
    jaxpr = str(jax.make_jaxpr(convolution)(x, kernel))
    assert "f32[5,5,14,7]" in jaxpr  # [kT, kH, W * 2, W]


def test_bfloat16_output_with_float32_parameters():
    layer = Conv3D(4, (3, 3, 3), dtype=jnp.bfloat16, lowering="planes")
    x = jnp.ones((1, 2, 4, 4, 3))
    y, variables = layer.init_with_output(jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    assert variables["params"]["kernel"].dtype == jnp.float32


def test_padding_is_symmetric_at_stride_two():
    x = jnp.zeros((1, 1, 1, 8, 1)).at[..., 0, 0].set(1.0)
    kernel = jnp.arange(1.0, 4.0).reshape(1, 1, 3, 1, 1)
    for lowering in (None, "primitive", "planes"):
        y = conv.conv3d(x, kernel, strides=(1, 1, 2), lowering=lowering)
        # The first pixel is under the middle tap; with SAME under the first.
        np.testing.assert_array_equal(y.ravel(), [2, 0, 0, 0])


def test_bias_is_initialised_to_zero_and_added():
    layer = Conv3D(4, (1, 1, 1), use_bias=True)
    x = jnp.ones((1, 1, 2, 2, 3))
    variables = layer.init(jax.random.key(0), x)
    assert not variables["params"]["bias"].any()
    moved = {"params": variables["params"] | {"bias": jnp.arange(4.0)}}
    difference = layer.apply(moved, x) - layer.apply(variables, x)
    np.testing.assert_allclose(difference[0, 0, 0, 0], np.arange(4), atol=1e-6)


def test_unknown_lowering_is_refused():
    x, kernel, _ = make("block", np.float32)
    with pytest.raises(ValueError, match="choose one of 'native', 'onednn', 'planes'"):
        conv.conv3d(x, kernel, lowering="winograd")


def test_arrays_that_do_not_fit_are_refused():
    x, kernel, _ = make("block", np.float32)
    with pytest.raises(ValueError, match=r"do not fit: expected \[B, T, H, W, C\]"):
        conv.conv3d(x[..., :3], kernel)
    with pytest.raises(TypeError, match="the input is float32, the kernel bfloat16"):
        conv.conv3d(x, jnp.asarray(kernel, jnp.bfloat16))


@pytest.mark.parametrize(
    "layer", [((17, 8, 7, 1), (15, 3, 3)), ((4, 6, 5, 3), (3,) * 3)]
)
@pytest.mark.parametrize("lowering", lowerings.NAMES)
def test_convolution_without_padding(layer, lowering):
    if reason := lowerings.failure(lowering, "float32"):
        pytest.skip(reason)
    shape, kernel_size = layer
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape)).astype(np.float32)
    kernel = rng.normal(size=(*kernel_size, shape[-1], 4)).astype(np.float32)

    @functools.partial(jax.jit, static_argnums=2)
    def compute(x, kernel, name):
        def weighted(x, kernel):
            y = conv.conv3d(x, kernel, padding="valid", lowering=name)
            return (y * jnp.cos(y)).sum(), y

        return jax.value_and_grad(weighted, (0, 1), has_aux=True)(x, kernel)

    (_, y), gradients = compute(x, kernel, lowering)
    (_, expected), others = compute(x, kernel, "primitive")
    sizes = [n - k + 1 for n, k in zip(shape[:3], kernel_size, strict=True)]
    assert y.shape == (2, *sizes, 4)
    for one, other in zip((y, *gradients), (expected, *others), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
