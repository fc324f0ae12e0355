"""Programs that are exported for accelerators on a CPU hold XLA's own convolutions.

Continuous integration has no accelerator; this is the nearest to one.
"""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from meranet_jax.analysis import saliency
from meranet_jax.config import default_config
from meranet_jax.models import meranet
from meranet_jax.training import precision as train_precision
from meranet_jax.training import step as train_step

CONFIG = default_config("synthetic", "small").change(batch_size=2, flip=True)
CLIP = (4, 16, 16, 3)
FOLDS = 2
# Custom calls that JAX itself emits for an accelerator
OWN_CALLS = {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"}


def network(precision):
    dtype = jnp.bfloat16 if precision == "bf16" else None
    return meranet.MERANet(num_classes=3, width=4, stage_sizes=(1, 1), dtype=dtype)


def abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def programs(precision):
    """Returns the programs of a run, with the shapes of their arguments."""
    model = network(precision)
    config = CONFIG.change(precision=precision)
    optimizer, rate = train_step.make_optimizer(config)
    state = jax.eval_shape(
        functools.partial(
            train_step.init_state, model=model, optimizer=optimizer, clip_shape=CLIP
        ),
        jax.random.key(0),
        1,
    )
    step = train_step.make_step(
        config, model=model, optimizer=optimizer, rate=rate, params=state.params
    )
    exact = train_precision.with_precision(config)
    step = exact(step)
    batch = {
        "clip": jax.ShapeDtypeStruct((2, *CLIP), jnp.uint8),
        "label": jax.ShapeDtypeStruct((2,), jnp.int32),
    }
    weights = {"params": state.params, "batch_stats": state.batch_stats}
    clips = jax.ShapeDtypeStruct((2, *CLIP), jnp.float32)

    def stacked(tree):
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((FOLDS, *x.shape), x.dtype), tree
        )

    predict = exact(functools.partial(model.apply, train=False))
    maps = exact(functools.partial(saliency._input_gradient, model))
    return {
        "training": (jax.jit(step), (state, batch)),
        "prediction": (jax.jit(predict), (weights, clips)),
        "saliency": (
            jax.jit(maps),
            (weights, clips, batch["label"], jax.random.key(0)),
        ),
        "parallel folds": (
            jax.jit(jax.pmap(step, axis_name="folds", devices=jax.devices()[:FOLDS])),
            (stacked(state), stacked(batch)),
        ),
    }


@pytest.mark.parametrize(
    ("platform", "precision"),
    [
        ("cuda", "fp32"),
        ("tpu", "bf16"),
        pytest.param("cuda", "bf16", marks=pytest.mark.slow),
        pytest.param("tpu", "fp32", marks=pytest.mark.slow),
    ],
)
def test_programs_for_accelerators_hold_plain_convolutions(platform, precision):
    # The stem, two blocks of two convolutions with channel attention (the shared
    # network twice) and a map, and the shortcut of the second block
    forward = 1 + 2 * (2 + 4 + 1) + 1
    expected = {
        "training": 3 * forward - 1,  # both gradients, but none by the clips
        "prediction": forward,
        "saliency": 2 * forward,
        "parallel folds": 3 * forward - 1,
    }
    for name, (program, arguments) in programs(precision).items():
        exported = jax.export.export(program, platforms=[platform])(*arguments)
        text = exported.mlir_module()
        calls = set(re.findall(r"custom_call @(\w+)", text)) - OWN_CALLS
        assert not calls, (name, calls)
        assert text.count("stablehlo.convolution") == expected[name], name
        # Otherwise GPUs compute products of float32 with TensorFloat-32.
        exact = re.findall("stablehlo.convolution.*precision HIGHEST", text)
        assert len(exact) == (expected[name] if precision == "fp32" else 0), name


def test_a_program_for_a_cpu_needs_no_extension():
    program, arguments = programs("fp32")["prediction"]
    exported = jax.export.export(program, platforms=["cpu", "cuda"])(*arguments)
    text = exported.mlir_module()
    shapes = re.findall(r"stablehlo\.convolution.*?\(tensor<([\dx]*)xf32>", text)
    # Of four axes, the sums of 2-D convolutions for the CPU; of five, for CUDA
    assert {shape.count("x") for shape in shapes} == {3, 4}
