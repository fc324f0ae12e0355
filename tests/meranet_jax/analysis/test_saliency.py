import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from meranet_jax.analysis import saliency
from meranet_jax.analysis.saliency import Saliency
from meranet_jax.errors import UserError
from meranet_jax.inputs import rgb
from meranet_jax.models import layers
from meranet_jax.models.meranet import MERANet

SIZE = (8, 16, 16)


@pytest.fixture(scope="module")
def model():
    return MERANet(num_classes=3, width=4, stage_sizes=(1, 2), reduction=2)


@pytest.fixture(scope="module")
def weights(model):
    return initial(model)


def initial(model, seed=0):
    init = jax.jit(functools.partial(model.init, train=False))
    return init(jax.random.key(seed), jnp.zeros((1, *SIZE, 3)))


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def saliency_of(model):
    """The compiled maps of the last layer."""
    return Saliency(model, clip_shape=(*SIZE, 3)).maps


@pytest.fixture(scope="module")
def found(saliency_of, weights, clips):
    return saliency_of(weights, clips)


def test_shapes_and_ranges_of_maps(model, found, weights, clips):
    apply = jax.jit(functools.partial(model.apply, train=False))
    logits = apply(weights, rgb.normalise(jnp.asarray(clips)))
    np.testing.assert_allclose(found.logits, logits, rtol=1e-5, atol=1e-6)
    assert found.classes.tolist() == logits.argmax(-1).tolist()
    for maps in (found.grad_cam, found.smooth_grad, *found.attention.values()):
        assert maps.shape == (2, *SIZE) and maps.dtype == np.float32
        assert maps.min() >= 0
    assert list(found.attention) == ["block1_1", "block2_1", "block2_2"]
    assert {name: c.shape for name, c in found.channels.items()} == {
        "block1_1": (2, 4),
        "block2_1": (2, 8),
        "block2_2": (2, 8),
    }
    of_attention = [*found.attention.values(), *found.channels.values()]
    assert all((0 < a).all() and (a < 1).all() for a in of_attention)


def test_grad_cam_of_the_last_block_is_the_class_activation_map(model, weights, clips):
    """Only average pooling and the head follow: the gradient is the head's kernel."""
    classes = [2, 0]
    found = Saliency(model, clip_shape=(*SIZE, 3), layer="block2_2").maps(
        weights, clips, classes
    )
    apply = functools.partial(
        model.apply,
        train=False,
        capture_intermediates=lambda module, _: module.name == "block2_2",
    )
    _, kept = jax.jit(apply)(weights, rgb.normalise(jnp.asarray(clips)))
    (activation,) = kept["intermediates"]["block2_2"]["__call__"]
    voxels = np.prod(activation.shape[1:4])
    kernel = weights["params"]["head"]["kernel"][:, jnp.array(classes)]  # [C, B]
    expected = jnp.einsum("bthwc,cb->bthw", activation, kernel) / voxels
    grid = layers.find_grid(model, "block2_2", expected.shape[1:], SIZE)
    expected = saliency.upsample(jnp.maximum(expected, 0), SIZE, grid)
    assert found.classes.tolist() == classes
    np.testing.assert_allclose(found.grad_cam, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("layer", ["stem", "block1_1", "block2_1"])
def test_the_gradient_of_a_layer_equals_finite_differences(
    model, weights, clips, layer
):
    """Compares it with a step along the gradient through the layers that follow."""
    x = rgb.normalise(jnp.asarray(clips))
    classes = jnp.array([1, 1])
    parts = jax.jit(functools.partial(saliency._grad_cam_parts, model, layer))
    _, activation, gradient, _, _ = parts(weights, x, classes)
    assert activation.shape == gradient.shape

    @jax.jit
    def moved(amount):
        return _with_output(model, weights, x, layer, activation + amount * gradient)

    step = 1e-2 / float(jnp.sqrt((gradient**2).sum()))
    change = (moved(step) - moved(-step))[:, 1].sum() / (2 * step)
    assert change == pytest.approx(float((gradient**2).sum()), rel=0.02)


def _with_output(model, weights, x, layer, output):
    def replace(call, args, kwargs, context):
        found = call(*args, **kwargs)
        return output if context.module.path == (layer,) else found

    with saliency.nn.intercept_methods(replace):
        return model.apply(weights, x, train=False)


def test_smooth_grad_depends_on_the_seed(saliency_of, weights, clips, found):
    again = functools.partial(saliency_of, weights, clips)
    np.testing.assert_array_equal(again().smooth_grad, found.smooth_grad)
    assert (again(seed=1).smooth_grad != found.smooth_grad).any()


def test_a_map_does_not_depend_on_other_clips_of_the_batch(
    saliency_of, weights, clips, found
):
    turned = saliency_of(weights, clips[::-1], found.classes[::-1])
    for name in ("grad_cam", "smooth_grad"):
        np.testing.assert_allclose(
            getattr(turned, name)[::-1], getattr(found, name), rtol=1e-3, atol=1e-5
        )


def test_a_network_without_attention_has_no_attention_maps(clips):
    plain = MERANet(num_classes=3, width=4, stage_sizes=(1, 1), attention=False)
    weights = initial(plain)
    found = Saliency(plain, clip_shape=(*SIZE, 3)).maps(weights, clips)
    assert not found.attention and not found.channels and found.grad_cam.any()


def test_an_unknown_layer_is_refused(model):
    with pytest.raises(UserError, match="stem, block1_1, block2_1, block2_2"):
        Saliency(model, clip_shape=(*SIZE, 3), layer="block9_1")


def test_localisation_of_perfect_opposite_and_uniform_maps():
    motion = np.zeros((2, 4, 4, 4), bool)
    motion[:, 1:3, 1:3, 1:3] = True
    motion[:, 2, 0, 0] = True  # most of the movement is in the third frame
    perfect = saliency.localisation(motion.astype(np.float32), motion)
    assert perfect["frame_correlation"] == pytest.approx([1, 1])
    opposite = saliency.localisation((~motion).astype(np.float32), motion)
    uniform = saliency.localisation(np.zeros(motion.shape, np.float32), motion)
    assert perfect["energy"].tolist() == [1, 1] and perfect["auc"].tolist() == [1, 1]
    assert perfect["frame_energy"].tolist() == [1, 1]
    assert opposite["energy"].tolist() == [0, 0] == opposite["auc"].tolist()
    assert uniform["auc"].tolist() == [0.5, 0.5]
    assert uniform["frame_correlation"].tolist() == [0, 0]
    np.testing.assert_allclose(uniform["energy"], 9 / 64)
    np.testing.assert_allclose(uniform["energy"], uniform["energy_by_chance"])
    np.testing.assert_allclose(
        uniform["frame_energy"], uniform["frame_energy_by_chance"]
    )


def test_localisation_computed_by_hand():
    maps = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 2, 1, 2)
    motion = np.array([False, True, False, True]).reshape(1, 2, 1, 2)
    found = saliency.localisation(maps, motion)
    assert found["energy"] == pytest.approx([0.6])
    assert found["auc"] == pytest.approx([0.75])  # 3 of 4 pairs are ordered correctly


def test_upsampling_follows_the_receptive_fields():
    """Output 2 of a convolution of stride 16 is centred at input 32."""
    impulse = jnp.zeros((1, 2, 4, 4)).at[0, 1, 2, 1].set(1.0)
    grid = ((0, 8), (0, 16), (0, 16))
    found = np.asarray(saliency.upsample(impulse, (16, 64, 64), grid))[0]
    assert np.unravel_index(found.argmax(), found.shape) == (8, 32, 16)
    assert found[8, 32, 24] == 0.5 and found[8, 32, 32] == 0
    assert found[15].max() == 1  # the last value is repeated
    same = saliency.upsample(impulse, impulse.shape[1:], ((0, 1),) * 3)
    np.testing.assert_array_equal(same, impulse)


def test_upsampling_begins_where_the_first_output_is_centred():
    ramp = jnp.arange(3.0).reshape(1, 1, 1, 3)
    found = saliency.upsample(ramp, (1, 1, 8), ((0, 1), (0, 1), (1, 2)))
    np.testing.assert_allclose(found[0, 0, 0], [0, 0, 0.5, 1, 1.5, 2, 2, 2])


def test_similarity_is_a_rank_correlation():
    maps = np.arange(24.0).reshape(1, 2, 3, 4)
    assert saliency.similarity(maps, maps**3) == pytest.approx([1])
    assert saliency.similarity(maps, -maps) == pytest.approx([-1])
    assert saliency.similarity(maps, np.ones_like(maps)).tolist() == [0]


def test_randomised_layers_are_replaced(model, weights):
    random = initial(model, seed=1)
    changed = saliency.randomised(weights, random, ["head", "block2_2"])
    same = jax.tree.map(lambda a, b: bool((a == b).all()), changed, random)
    assert all(jax.tree.leaves(same["params"]["block2_2"]))
    assert all(jax.tree.leaves(same["params"]["head"]))
    kept = jax.tree.map(lambda a, b: bool((a == b).all()), changed, weights)
    assert all(jax.tree.leaves(kept["params"]["block2_1"]))
    assert not all(jax.tree.leaves(kept["params"]["block2_2"]))
