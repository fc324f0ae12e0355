import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from meranet_jax.analysis import flops
from meranet_jax.config import TrainConfig, default_config


def test_a_layer_counted_by_xla():
    # Without padding XLA counts the same: [4, 8, 8, 6] of 3 x 3 x 3 voxels, 5 channels
    x, kernel = jnp.zeros((1, 6, 10, 10, 5)), jnp.zeros((3, 3, 3, 5, 6))
    convolve = jax.jit(
        lambda x: lax.conv_general_dilated(
            x,
            kernel,
            (1, 1, 1),
            "VALID",
            dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        )
    )
    counted = flops.conv((4, 8, 8), 27, 5, 6)
    assert counted == 2 * 4 * 8 * 8 * 27 * 5 * 6
    assert convolve.lower(x).cost_analysis()["flops"] == pytest.approx(counted)


def test_the_plain_network_has_torchvisions_count():
    # r3d_18 at 16 x 112 x 112 with 400 classes: 40.70 billion multiply-adds
    config = TrainConfig(attention=False)
    assert flops.forward(config, 400) / 2e9 == pytest.approx(40.70, abs=0.005)
    assert flops.step(config) == 3 * flops.forward(config)


def test_the_attention_adds_what_a_hand_counts():
    # One block of 4 channels on 2 x 4 x 4 voxels, r = 2: 2 pooled maps through 4 x 2
    # and 2 x 4 numbers, and 27 taps of 2 channels at each of 32 voxels
    config = dataclasses.replace(
        default_config("synthetic", "small"),
        frames=2,
        size=8,
        width=4,
        stage_sizes=(1,),
        reduction=2,
        kernel_size=3,
    )
    plain = dataclasses.replace(config, attention=False)
    hand = 2 * (2 * (4 * 2 + 2 * 4) + 32 * 27 * 2)
    assert flops.forward(config) - flops.forward(plain) == hand


def test_parameters_are_the_networks():
    assert flops.parameters(TrainConfig()) == 33_256_851
