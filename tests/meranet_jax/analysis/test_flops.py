import pytest

from meranet_jax.analysis import flops
from meranet_jax.config import TrainConfig, default_config


def test_resnet_has_the_count_of_torchvision():
    # r3d_18 at 16 x 112 x 112 with 400 classes: 40.70 billion multiply-adds
    config = TrainConfig(model="resnet3d")
    assert flops.forward(config, 400) / 2e9 == pytest.approx(40.70, abs=0.005)
    assert flops.step(config) == 3 * flops.forward(config)


def test_attention_adds_a_count_computed_by_hand():
    # One block of 4 channels on 2 x 4 x 4 voxels, r = 2: 2 pooled maps are multiplied
    # by 4 x 2 and 2 x 4 weights, and 27 taps of 2 channels are computed at 32 voxels
    config = default_config("synthetic", "small").change(
        frames=2,
        size=8,
        width=4,
        stage_sizes=(1,),
        reduction=2,
        kernel_size=3,
    )
    plain = config.change(model="resnet3d")
    expected = 2 * (2 * (4 * 2 + 2 * 4) + 32 * 27 * 2)
    assert flops.forward(config) - flops.forward(plain) == expected


def test_parameter_count_of_meranet():
    assert flops.parameters(TrainConfig()) == 33_256_851
