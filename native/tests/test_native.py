"""The extension by itself: numbers, refusals, threads."""

import concurrent.futures
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

meranet_native = pytest.importorskip("meranet_native")

STRIDES, BEFORE, AFTER = (1, 2, 2), (1, 0, 2), (1, 2, 1)
X, KERNEL, Y = (2, 4, 9, 8, 5), (3, 3, 3, 5, 6), (2, 4, 5, 5, 6)


@pytest.fixture(scope="module", autouse=True)
def targets():
    for name, function in meranet_native.functions().items():
        capsule = jax.ffi.pycapsule(function)
        jax.ffi.register_ffi_target(f"test_{name}", capsule, platform="cpu")


def call(name, shape, a, b, **changes):
    attributes = {"strides": STRIDES, "before": BEFORE, "after": AFTER} | changes
    threads = np.int64(attributes.pop("threads", 1))
    attributes = {n: np.array(v, np.int64) for n, v in attributes.items()}
    function = jax.ffi.ffi_call(f"test_{name}", jax.ShapeDtypeStruct(shape, a.dtype))
    return function(a, b, threads=threads, **attributes)


def arrays(*shapes, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_all_three_equal_xla(threads):
    x, kernel, gradient = arrays(X, KERNEL, Y)
    pads = list(zip(BEFORE, AFTER, strict=True))
    expected, transpose = jax.vjp(
        lambda x, kernel: jax.lax.conv_general_dilated(
            x, kernel, STRIDES, pads, dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
        ),
        x,
        kernel,
    )
    found = (
        call("convolution", Y, x, kernel, threads=threads),
        call("input_gradient", X, gradient, kernel, threads=threads),
        call("kernel_gradient", KERNEL, x, gradient, threads=threads),
    )
    for a, b in zip(found, (expected, *transpose(gradient)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_no_clips():
    x, kernel, gradient = arrays((0, *X[1:]), KERNEL, (0, *Y[1:]))
    assert call("convolution", gradient.shape, x, kernel).shape == gradient.shape
    assert not call("kernel_gradient", KERNEL, x, gradient).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": (1, 2)}, "strides and padding of 3 numbers"),
        ({"threads": 0}, "at least one thread"),
        ({"before": (0, 0, 0), "after": (0, 0, 0)}, "oneDNN: could not create"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(changes, message):
    x, kernel = arrays(X, KERNEL)
    with pytest.raises(Exception, match=message):
        call("convolution", Y, x, kernel, **changes).block_until_ready()


def test_other_dtypes_are_refused():
    x, kernel = arrays(X, KERNEL, dtype=jnp.float16)
    with pytest.raises(Exception, match="all be float32 or all be bfloat16"):
        call("convolution", Y, x, kernel).block_until_ready()


def test_arrays_with_other_axes_are_refused():
    x, kernel = arrays(X, KERNEL[1:])
    with pytest.raises(Exception, match="expected arrays of 5 axes"):
        call("convolution", Y, x, kernel).block_until_ready()


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_at_the_same_time(threads):
    x, kernel = arrays((4, 8, 14, 14, 16), (3, 3, 3, 16, 16))
    ones = {"strides": (1, 1, 1), "before": (1, 1, 1), "after": (1, 1, 1)}

    @jax.jit
    def one(x):
        return call("kernel_gradient", kernel.shape, x, x, threads=threads, **ones)

    devices = jax.devices()[:4]
    placed = [jax.device_put(x, device) for device in devices] * 8
    expected = np.asarray(one(x))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda x: np.asarray(one(x)), placed):
            np.testing.assert_array_equal(found, expected)


def test_version():
    assert re.fullmatch(r"[23]\.\d+\.\d+", meranet_native.onednn_version())
