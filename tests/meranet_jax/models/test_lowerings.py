"""The forms of the convolution on a CPU: numbers, transformations and choice."""

import functools
import importlib.util
import logging
import os
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meranet_jax.errors import UserError
from meranet_jax.models import conv
from meranet_jax.models.convolution import lowerings, native, primitives
from meranet_jax.models.convolution.shapes import output_size
from meranet_jax.models.convolution.threads import use_threads
from tests.programs import ROOT

# Programs with the form `onednn` cannot be stored (lowerings.py).
pytestmark = pytest.mark.filterwarnings(
    "ignore:Error writing persistent compilation cache entry:UserWarning"
)

HAS_ONEDNN = sys.platform == "linux" and platform.machine() == "x86_64"
HAS_NATIVE = importlib.util.find_spec("meranet_native") is not None
MISSING = {"onednn": not HAS_ONEDNN, "native": not HAS_NATIVE, "primitive": True}
FORMS = [name for name in lowerings.NAMES if not MISSING.get(name)]

# Input [T, H, W, C], kernel size, outputs, strides; of the networks of both presets,
# but for the number of clips and the sizes of the first layers.
LAYERS = {
    "small, stem": ((4, 16, 16, 3), (3, 7, 7), 16, (1, 2, 2)),
    "small, stage 1": ((4, 14, 14, 16), (3, 3, 3), 16, (1, 1, 1)),
    "small, to stage 2": ((4, 14, 14, 16), (3, 3, 3), 32, (2, 2, 2)),
    "small, stage 3": ((4, 7, 7, 64), (3, 3, 3), 64, (1, 1, 1)),
    "small, to stage 4": ((4, 7, 7, 64), (3, 3, 3), 128, (2, 2, 2)),
    "small, stage 4": ((2, 4, 4, 128), (3, 3, 3), 128, (1, 1, 1)),
    "small, shortcut": ((4, 14, 14, 16), (1, 1, 1), 32, (2, 2, 2)),
    "full, stem": ((4, 24, 24, 3), (3, 7, 7), 64, (1, 2, 2)),
    "full, stage 1": ((4, 14, 14, 64), (3, 3, 3), 64, (1, 1, 1)),
    "full, to stage 3": ((4, 14, 14, 128), (3, 3, 3), 256, (2, 2, 2)),
    "full, stage 4": ((2, 7, 7, 512), (3, 3, 3), 512, (1, 1, 1)),
    "full, shortcut": ((4, 14, 14, 256), (1, 1, 1), 512, (2, 2, 2)),
    "channel attention": ((1, 1, 1, 64), (1, 1, 1), 4, (1, 1, 1)),
    "attention map": ((4, 14, 14, 2), (5, 5, 5), 1, (1, 1, 1)),
}


def make(layer, dtype=np.float32, clips=2):
    shape, kernel_size, outputs, strides = LAYERS[layer]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(clips, *shape)).astype(dtype)
    kernel = rng.normal(size=(*kernel_size, shape[-1], outputs)).astype(dtype)
    return x, kernel, strides


def value_and_gradients(x, kernel, strides, pads, lowering):
    """Returns the convolution, and both gradients of a weighted sum of its outputs."""

    def compute(x, kernel):
        y, transpose = jax.vjp(
            lambda x, kernel: primitives.convolution(
                x, kernel, strides, pads, lowering
            ),
            x,
            kernel,
        )
        weights = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        return y, *transpose(weights.astype(y.dtype))

    return jax.jit(compute)(x, kernel)


def assert_equal_up_to_rounding(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, atol=tolerance * max(np.abs(b).max(), 1e-30))


@pytest.mark.parametrize("lowering", FORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_each_form_equals_the_primitive(layer, lowering):
    x, kernel, strides = make(layer)
    pads = tuple((k // 2, k // 2) for k in kernel.shape[:3])
    found = value_and_gradients(x, kernel, strides, pads, lowering)
    expected = value_and_gradients(x, kernel, strides, pads, "primitive")
    # Up to 13,824 products are added, in another order: 5.1e-6 was found.
    assert_equal_up_to_rounding(found, expected, 1e-5)


@pytest.mark.parametrize("lowering", FORMS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_sizes_strides_and_padding(lowering, data):
    def three(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(3))

    size, kernel_size, strides = three(1, 7), three(1, 4), three(1, 3)
    pads = tuple(
        (data.draw(st.integers(0, k - 1)), data.draw(st.integers(0, k - 1)))
        for k in kernel_size
    )
    clips, channels, outputs = three(1, 9)
    try:
        output_size(size, kernel_size, strides, pads)
    except ValueError:
        return
    rng = np.random.default_rng(0)
    x = rng.normal(size=(clips, *size, channels)).astype(np.float32)
    kernel = rng.normal(size=(*kernel_size, channels, outputs)).astype(np.float32)
    found = value_and_gradients(x, kernel, strides, pads, lowering)
    expected = value_and_gradients(x, kernel, strides, pads, "primitive")
    assert_equal_up_to_rounding(found, expected, 5e-6)


@pytest.mark.skipif(
    not HAS_NATIVE or lowerings.failure("native", "bfloat16") is not None,
    reason="no extension that computes bfloat16",
)
def test_bfloat16_by_the_extension():
    x, kernel, strides = make("small, stage 3", jnp.bfloat16)
    pads = ((1, 1),) * 3
    found = value_and_gradients(x, kernel, strides, pads, "native")
    expected = value_and_gradients(x, kernel, strides, pads, "primitive")
    assert_equal_up_to_rounding(found, expected, 2e-2)


@pytest.mark.parametrize("lowering", FORMS)
def test_same_bits_from_call_to_call(lowering):
    x, kernel, strides = make("small, stage 3", clips=5)
    for threads in (1, 2):
        with use_threads(threads):
            first, second = (
                value_and_gradients(x, kernel, strides, ((1, 1),) * 3, lowering)
                for _ in range(2)
            )
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("lowering", FORMS)
def test_transformations(lowering):
    """jit, vmap, scan, remat, forward mode, second derivatives and pmap."""
    x, kernel, _ = make("small, shortcut")
    x = x[..., :4]
    kernel = np.random.default_rng(1).normal(size=(3, 3, 3, 4, 3)).astype(np.float32)
    xs = np.stack([x, 2 * x, x - 1])
    kernels = np.stack([kernel, -kernel, kernel + 1])
    convolve = functools.partial(conv.conv3d, lowering=lowering)
    expected = functools.partial(conv.conv3d, lowering="primitive")

    def loss(form, x, kernel):
        return (form(x, kernel) ** 2).sum()

    def second(form, x, kernel):
        """A gradient of a gradient's norm, by both arguments."""
        gradient = jax.grad(functools.partial(loss, form), argnums=(0, 1))

        def norm(x, kernel):
            return sum((g**2).sum() for g in gradient(x, kernel))

        return jax.grad(norm, argnums=(0, 1))(x, kernel)

    cases = {
        "eager": lambda f: f(x, kernel),
        "vmap over clips": lambda f: jax.vmap(f, (0, None))(xs, kernel),
        "vmap over kernels": lambda f: jax.vmap(f, (None, 0))(x, kernels),
        "vmap over both": lambda f: jax.vmap(f)(xs, kernels),
        "gradients under vmap": lambda f: jax.vmap(
            jax.grad(functools.partial(loss, f), argnums=(0, 1)), (0, None)
        )(xs, kernel),
        "scan": lambda f: jax.lax.scan(lambda c, x: (c, f(x, kernel)), 0, xs)[1],
        "remat": lambda f: jax.grad(jax.checkpoint(functools.partial(loss, f)))(
            x, kernel
        ),
        "forward mode": lambda f: jax.jvp(f, (x, kernel), (x + 1, kernel - 1)),
        "second derivatives": lambda f: second(f, x, kernel),
        "pmap": lambda f: jax.pmap(f, in_axes=(0, None))(xs[:2], kernel),
    }
    for name, case in cases.items():
        for a, b in zip(
            jax.tree.leaves(case(convolve)),
            jax.tree.leaves(case(expected)),
            strict=True,
        ):
            scale = np.abs(b).max()
            np.testing.assert_allclose(a / scale, b / scale, atol=2e-5, err_msg=name)


def test_float64_is_computed_in_float64():
    with jax.enable_x64(True):
        assert lowerings.choose(jnp.float64) in ("planes", "primitive")
        x, kernel, strides = make("small, to stage 2", np.float64)
        found = conv.conv3d(x, kernel, strides=strides)
        expected = conv.conv3d(x, kernel, strides=strides, lowering="primitive")
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.fixture
def untried():
    """Forgets which forms work, before and after a test that breaks them."""
    lowerings.failure.cache_clear()
    yield
    lowerings.failure.cache_clear()


def test_a_form_that_fails_is_replaced_by_the_next(untried, monkeypatch, caplog):
    monkeypatch.delenv(lowerings.VARIABLE, raising=False)
    best = lowerings.choose(jnp.float32)
    assert best == ("native" if HAS_NATIVE else "planes")

    def broken(*arguments, **options):
        raise RuntimeError("no such function\nwith details")

    def wrong(x, gradient, options, *, kernel_size):
        return jnp.zeros((*kernel_size, x.shape[4], gradient.shape[4]), x.dtype)

    caplog.set_level(logging.DEBUG, lowerings.__name__)
    for form, fault in (("native", broken), ("planes", wrong)):
        if form == "native" and not HAS_NATIVE:
            continue
        assert lowerings.choose(jnp.float32) == form
        monkeypatch.setattr(lowerings.find(form), "kernel_gradient", fault)
        lowerings.failure.cache_clear()
    assert lowerings.choose(jnp.float32) == "primitive"
    assert "results differ from XLA's by 1" in lowerings.failure("planes", "float32")
    records = [r for r in caplog.records if r.name == lowerings.__name__]
    assert records and all(r.levelno == logging.DEBUG for r in records)
    if HAS_NATIVE:
        reason = "RuntimeError: no such function"
        assert lowerings.failure("native", "float32") == reason


@pytest.mark.parametrize(
    ("dtype", "fault"),
    [
        ("float32", lambda gradient: jnp.full_like(gradient, jnp.nan)),
        ("float32", lambda gradient: gradient * 1.001),
        ("bfloat16", lambda gradient: gradient * 1.2),
    ],
)
def test_a_form_with_wrong_gradients_is_not_used(untried, monkeypatch, dtype, fault):
    monkeypatch.delenv(lowerings.VARIABLE, raising=False)
    form = lowerings.find("planes")
    right = form.input_gradient
    monkeypatch.setattr(
        form, "input_gradient", lambda *a, **options: fault(right(*a, **options))
    )
    assert "results differ from XLA's by" in lowerings.failure("planes", dtype)


def test_native_is_automatic_only_where_it_was_measured(untried, monkeypatch):
    monkeypatch.delenv(lowerings.VARIABLE, raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert lowerings.choose(jnp.float32) == "planes"


def test_a_lowering_that_does_not_work_is_refused():
    x, kernel, _ = make("small, stage 3", np.float16)
    with pytest.raises(ValueError, match="'native' does not work here: does not comp"):
        jax.jit(functools.partial(conv.conv3d, lowering="native"))(x, kernel)


@pytest.mark.skipif(not HAS_NATIVE, reason="no extension")
def test_a_limit_of_openmp_excludes_the_extension():
    """With fewer threads than it expects oneDNN would compute a part only."""
    code = "from meranet_jax.models.convolution import lowerings"
    code += "; print(lowerings.failure('native', 'float32'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OMP_THREAD_LIMIT": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "OpenMP allows 1 threads" in done.stdout


def test_missing_extension(untried, monkeypatch):
    monkeypatch.setitem(sys.modules, "meranet_native", None)
    native._register.cache_clear()
    assert "meranet_native" in lowerings.failure("native", "float32")
    native._register.cache_clear()


def test_the_environment_names_a_form(monkeypatch):
    monkeypatch.setenv(lowerings.VARIABLE, "planes")
    assert lowerings.choose(jnp.float32) == "planes"
    monkeypatch.setenv(lowerings.VARIABLE, "native")
    assert lowerings.choose(jnp.float64) == "planes"
    monkeypatch.setenv(lowerings.VARIABLE, "winograd")
    with pytest.raises(UserError, match="=winograd names no form.*native, onednn"):
        lowerings.choose(jnp.float32)


def test_a_named_form_that_does_not_work_is_refused(untried, monkeypatch):
    monkeypatch.setitem(sys.modules, "meranet_native", None)
    native._register.cache_clear()
    monkeypatch.setenv(lowerings.VARIABLE, "native")
    with pytest.raises(UserError, match="does not work here: .*meranet_native"):
        lowerings.choose(jnp.float32)
    native._register.cache_clear()
