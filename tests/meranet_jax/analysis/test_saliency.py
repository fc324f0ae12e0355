import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from meranet_jax.analysis import saliency
from meranet_jax.analysis.saliency import Saliency
from meranet_jax.errors import UserError
from meranet_jax.inputs import rgb
from meranet_jax.models.meranet import MERANet

SIZE = (8, 16, 16)


@pytest.fixture(scope="module")
def model():
    return MERANet(num_classes=3, width=4, stage_sizes=(1, 2), reduction=2)


@pytest.fixture(scope="module")
def weights(model):
    return model.init(jax.random.key(0), jnp.zeros((1, *SIZE, 3)), train=False)


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def found(model, weights, clips):
    return Saliency(model, clip_shape=(*SIZE, 3)).maps(weights, clips)


def test_maps_lie_over_the_clips(model, found, weights, clips):
    logits = model.apply(weights, rgb.normalise(jnp.asarray(clips)), train=False)
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


def test_after_the_last_block_grad_cam_is_the_class_activation_map(
    model, weights, clips
):
    """Only its mean and the head follow, so the gradient is the head's kernel."""
    classes = [2, 0]
    found = Saliency(model, clip_shape=(*SIZE, 3), layer="block2_2").maps(
        weights, clips, classes
    )
    _, kept = model.apply(
        weights,
        rgb.normalise(jnp.asarray(clips)),
        train=False,
        capture_intermediates=lambda module, _: module.name == "block2_2",
    )
    (activation,) = kept["intermediates"]["block2_2"]["__call__"]
    voxels = np.prod(activation.shape[1:4])
    kernel = weights["params"]["head"]["kernel"][:, jnp.array(classes)]  # [C, B]
    expected = jnp.einsum("bthwc,cb->bthw", activation, kernel) / voxels
    expected = saliency.upsample(jnp.maximum(expected, 0), SIZE)
    assert found.classes.tolist() == classes
    np.testing.assert_allclose(found.grad_cam, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("layer", ["stem", "block1_1", "block2_1"])
def test_the_gradient_by_a_layer_is_that_of_differences(model, weights, clips, layer):
    """Against a step along the gradient, through all that follows the layer."""
    x = rgb.normalise(jnp.asarray(clips))
    classes = jnp.array([1, 1])
    _, activation, gradient, _, _ = saliency._seen(model, layer, weights, x, classes)
    assert activation.shape == gradient.shape

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


def test_smooth_grad_is_drawn_from_the_seed(model, weights, clips, found):
    again = functools.partial(
        Saliency(model, clip_shape=(*SIZE, 3)).maps, weights, clips
    )
    np.testing.assert_array_equal(again().smooth_grad, found.smooth_grad)
    assert (again(seed=1).smooth_grad != found.smooth_grad).any()


def test_a_map_does_not_hang_on_the_clips_beside_it(model, weights, clips, found):
    turned = Saliency(model, clip_shape=(*SIZE, 3)).maps(
        weights, clips[::-1], found.classes[::-1]
    )
    for name in ("grad_cam", "smooth_grad"):
        np.testing.assert_allclose(
            getattr(turned, name)[::-1], getattr(found, name), rtol=1e-3, atol=1e-5
        )


def test_a_network_without_attention_has_no_attention_maps(clips):
    plain = MERANet(num_classes=3, width=4, stage_sizes=(1, 1), attention=False)
    weights = plain.init(jax.random.key(0), jnp.zeros((1, *SIZE, 3)), train=False)
    found = Saliency(plain, clip_shape=(*SIZE, 3)).maps(weights, clips)
    assert not found.attention and not found.channels and found.grad_cam.any()


def test_an_unknown_layer_is_refused(model):
    with pytest.raises(UserError, match="stem, block1_1, block2_1, block2_2"):
        Saliency(model, clip_shape=(*SIZE, 3), layer="block9_1")


def test_a_map_that_is_the_truth_points_at_it():
    moved = np.zeros((2, 4, 4, 4), bool)
    moved[:, 1:3, 1:3, 1:3] = True
    moved[:, 2, 0, 0] = True  # most moved in the third frame
    perfect = saliency.localisation(moved.astype(np.float32), moved)
    assert perfect["frame_correlation"] == pytest.approx([1, 1])
    opposite = saliency.localisation((~moved).astype(np.float32), moved)
    even = saliency.localisation(np.zeros(moved.shape, np.float32), moved)
    assert perfect["energy"].tolist() == [1, 1] and perfect["auc"].tolist() == [1, 1]
    assert perfect["frame_energy"].tolist() == [1, 1]
    assert opposite["energy"].tolist() == [0, 0] == opposite["auc"].tolist()
    assert even["auc"].tolist() == [0.5, 0.5]
    assert even["frame_correlation"].tolist() == [0, 0]
    np.testing.assert_allclose(even["energy"], 9 / 64)
    np.testing.assert_allclose(even["energy"], even["energy_by_chance"])
    np.testing.assert_allclose(even["frame_energy"], even["frame_energy_by_chance"])


def test_localisation_by_hand():
    maps = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 2, 1, 2)
    moved = np.array([False, True, False, True]).reshape(1, 2, 1, 2)
    found = saliency.localisation(maps, moved)
    assert found["energy"] == pytest.approx([0.6])
    assert found["auc"] == pytest.approx([0.75])  # 3 of 4 pairs are in order


def test_a_map_lies_where_its_layer_looks():
    """A convolution of stride 16 with the same padding on both sides, at 2."""
    impulse = jnp.zeros((1, 2, 4, 4)).at[0, 1, 2, 1].set(1.0)
    found = np.asarray(saliency.upsample(impulse, (16, 64, 64)))[0]
    assert np.unravel_index(found.argmax(), found.shape) == (8, 32, 16)
    assert found[8, 32, 24] == 0.5 and found[8, 32, 32] == 0
    assert found[15].max() == 1  # nothing lies beyond
    np.testing.assert_array_equal(
        saliency.upsample(impulse, impulse.shape[1:]), impulse
    )


def test_similarity_is_of_ranks():
    maps = np.arange(24.0).reshape(1, 2, 3, 4)
    assert saliency.similarity(maps, maps**3) == pytest.approx([1])
    assert saliency.similarity(maps, -maps) == pytest.approx([-1])
    assert saliency.similarity(maps, np.ones_like(maps)).tolist() == [0]


def test_randomised_layers_are_the_others(model, weights):
    fresh = model.init(jax.random.key(1), jnp.zeros((1, *SIZE, 3)), train=False)
    changed = saliency.randomised(weights, fresh, ["head", "block2_2"])
    same = jax.tree.map(lambda a, b: bool((a == b).all()), changed, fresh)
    assert all(jax.tree.leaves(same["params"]["block2_2"]))
    assert all(jax.tree.leaves(same["params"]["head"]))
    kept = jax.tree.map(lambda a, b: bool((a == b).all()), changed, weights)
    assert all(jax.tree.leaves(kept["params"]["block2_1"]))
    assert not all(jax.tree.leaves(kept["params"]["block2_2"]))
