import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from meranet_jax import MERANet

CLIP = (1, 16, 112, 112, 3)


def shapes(model, clip=CLIP):
    """Returns the shapes of variables and of all modules' outputs."""

    def run(clip):
        variables = model.init(jax.random.key(0), clip, train=False)
        _, outputs = model.apply(
            variables, clip, train=False, capture_intermediates=True
        )
        return variables, outputs["intermediates"]

    return jax.eval_shape(run, jnp.zeros(clip))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def backbone_parameters(classes):
    """Counts the parameters of 3D ResNet-18 (Table 2).

    Convolutions have no bias; batch normalisation has scale and bias.
    """
    total = 3 * 7 * 7 * 3 * 64 + 2 * 64  # stem
    inputs = 64
    for features in (64, 128, 256, 512):
        for _ in range(2):
            total += 27 * inputs * features + 27 * features * features
            total += 2 * 2 * features
            if inputs != features:
                total += inputs * features + 2 * features  # 1x1x1 projection
            inputs = features
    return total + 512 * classes + classes


# Two blocks of each width have W_s and W_e with C^2 / 16 weights each; all eight blocks
# have a convolution of 5^3 taps from 2 channels to 1.
CHANNEL_ATTENTION = sum(2 * 2 * c * c // 16 for c in (64, 128, 256, 512))
ST_ATTENTION = 8 * 5**3 * 2


def test_parameters_of_the_backbone():
    variables, _ = shapes(MERANet(num_classes=3, attention=False))
    assert count(variables["params"]) == 33_167_811 == backbone_parameters(3)


def test_parameters_of_meranet():
    variables, _ = shapes(MERANet(num_classes=3))
    expected = backbone_parameters(3) + CHANNEL_ATTENTION + ST_ATTENTION
    assert count(variables["params"]) == 33_256_851 == expected


def test_parameter_count_of_the_paper():
    # The paper counts 400 classes, and the shared network for each of its two calls.
    assert backbone_parameters(400) + 2 * CHANNEL_ATTENTION + ST_ATTENTION == 33_547_552


@pytest.mark.parametrize(
    ("attentions", "added"),
    [(("channel",), CHANNEL_ATTENTION), (("spatio_temporal",), ST_ATTENTION)],
)
def test_parameters_of_a_single_attention(attentions, added):
    variables, _ = shapes(MERANet(num_classes=3, attentions=attentions))
    assert count(variables["params"]) == backbone_parameters(3) + added


def test_unknown_attention_is_refused():
    with pytest.raises(ValueError, match="temporal"):
        shapes(MERANet(num_classes=3, attentions=("channel", "temporal")))


def test_attentions_are_applied_in_the_given_order():
    paper = ("channel", "spatio_temporal")
    x = jax.random.normal(jax.random.key(1), (1, 4, 16, 16, 3))
    narrow = {"num_classes": 3, "width": 16, "stage_sizes": (1,)}
    one, other = (MERANet(attentions=each, **narrow) for each in (paper, paper[::-1]))
    variables = jax.jit(functools.partial(one.init, train=False))(jax.random.key(0), x)
    logits = [
        jax.jit(functools.partial(each.apply, train=False))(variables, x)
        for each in (one, other)
    ]
    assert not jnp.allclose(*logits)


def test_attention_that_changes_the_shape_is_refused():
    class Map(nn.Module):
        conv: Callable[..., nn.Module]

        def __call__(self, x):
            return x.mean(-1, keepdims=True)

    with pytest.raises(ValueError, match="must return the shape of its input"):
        shapes(MERANet(num_classes=3, attentions=("channel", Map)))


def test_output_sizes_of_table_2():
    _, outputs = shapes(MERANet(num_classes=3))
    sizes = {
        name: output["__call__"][0].shape
        for name, output in outputs.items()
        if name != "__call__"
    }
    assert sizes["stem_norm"] == (1, 16, 56, 56, 64)
    for stage, size in enumerate(
        [(16, 56, 56, 64), (8, 28, 28, 128), (4, 14, 14, 256), (2, 7, 7, 512)], 1
    ):
        assert sizes[f"block{stage}_1"] == sizes[f"block{stage}_2"] == (1, *size)
    assert sizes["head"] == (1, 3)


def test_initialisation_is_xavier_uniform_with_zero_bias():
    model = MERANet(num_classes=3, width=16, stage_sizes=(1, 1))
    init = jax.jit(functools.partial(model.init, train=False))
    variables = init(jax.random.key(0), jnp.zeros((1, 4, 16, 16, 3)))
    checked = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        name = path[-1].key
        if name == "kernel":
            taps = np.prod(leaf.shape[:-2])
            bound = np.sqrt(6 / (taps * (leaf.shape[-2] + leaf.shape[-1])))
            assert np.abs(leaf).max() <= bound
            if leaf.size > 1000:
                assert np.abs(leaf).max() > 0.98 * bound
                assert leaf.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
                checked += 1
        else:
            assert (leaf == (1 if name == "scale" else 0)).all()
    assert checked >= 4
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["batch_stats"]):
        assert (leaf == (1 if path[-1].key == "var" else 0)).all()


def test_attributes_determine_the_network():
    options = {"width": 8, "stage_sizes": (1, 2, 1), "num_classes": 5}
    variables, outputs = shapes(MERANet(**options), (2, 8, 32, 32, 3))
    assert outputs["block2_2"]["__call__"][0].shape == (2, 4, 8, 8, 16)
    assert outputs["block3_1"]["__call__"][0].shape == (2, 2, 4, 4, 32)
    assert outputs["head"]["__call__"][0].shape == (2, 5)
    block = variables["params"]["block1_1"]
    assert block["st_attention"]["map"]["kernel"].shape == (5, 5, 5, 2, 1)
    other, _ = shapes(
        MERANet(**options, kernel_size=7, shared="mlp", reduction=2), (2, 8, 32, 32, 3)
    )
    block = other["params"]["block1_1"]
    assert block["st_attention"]["map"]["kernel"].shape == (7, 7, 7, 2, 1)
    assert block["channel_attention"]["squeeze"]["kernel"].shape == (8, 4)
    assert block["channel_attention"]["squeeze"]["bias"].shape == (4,)


def test_zero_pad_shortcut_has_no_parameters():
    options = {"num_classes": 3, "attention": False}
    padded, outputs = shapes(MERANet(**options, shortcut="zero_pad"))
    projected, _ = shapes(MERANet(**options))
    # 1x1x1 convolutions and their batch normalisation where the shape changes.
    saved = sum(c * 2 * c + 2 * 2 * c for c in (64, 128, 256))
    assert saved == 173_824
    assert count(projected["params"]) - count(padded["params"]) == saved
    assert outputs["block4_2"]["__call__"][0].shape == (1, 2, 7, 7, 512)


def test_unknown_shortcut_is_refused():
    model = MERANet(num_classes=3, shortcut="identity")
    with pytest.raises(ValueError, match="'projection' or 'zero_pad'"):
        shapes(model)


def test_bfloat16_network_has_float32_parameters_and_logits():
    model = MERANet(num_classes=3, width=4, stage_sizes=(1, 1), dtype=jnp.bfloat16)
    variables, outputs = shapes(model, (2, 4, 16, 16, 3))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert outputs["block2_1"]["__call__"][0].dtype == jnp.bfloat16
    assert outputs["__call__"][0].dtype == jnp.float32
