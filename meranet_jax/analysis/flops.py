"""What a network computes, counted and not measured.

Convolutions and dense layers, two operations for a multiplication and its addition, and
the zeros of the padding as if they were numbers, which is how published figures count:
the 3D ResNet-18 at 16 x 112 x 112 with 400 classes has torchvision's 40.7 billion
multiply-adds. Pooling, normalisation and activations are left out.
"""

import math

import jax

from meranet_jax.config import TrainConfig
from meranet_jax.training.step import init_state, make_model, make_optimizer

# A layer's gradients by its input and by its kernel cost its forward pass each.
_STEP = 3


def conv(size: tuple[int, ...], kernel: int, inputs: int, outputs: int) -> int:
    """A convolution's operations.

    Args:
      size: of the output, without its channels.
      kernel: taps, as many as the kernel is large.
      inputs: channels.
      outputs: channels.
    """
    return 2 * math.prod(size) * kernel * inputs * outputs


def forward(config: TrainConfig, num_classes: int = 3) -> int:
    """Operations of a forward pass of one clip, without attentions of one's own."""
    size = (config.frames, _halved(config.size), _halved(config.size))
    channels = config.width
    total = conv(size, 3 * 7 * 7, 3, channels)  # the stem
    for stage, blocks in enumerate(config.stage_sizes):
        features = config.width * 2**stage
        for block in range(blocks):
            if stage > 0 and block == 0:
                size = tuple(map(_halved, size))
            total += conv(size, 27, channels, features)
            total += conv(size, 27, features, features)
            if channels != features and config.shortcut == "projection":
                total += conv(size, 1, channels, features)
            attentions = config.attentions if config.attention else ()
            if "channel" in attentions:
                narrow = max(features // config.reduction, 1)
                # The shared network: there and back, for the average and the maximum
                total += 2 * (2 * conv((1,), 1, features, narrow))
            if "spatio_temporal" in attentions:
                total += conv(size, config.kernel_size**3, 2, 1)
            channels = features
    return total + conv((1,), 1, channels, num_classes)


def step(config: TrainConfig, num_classes: int = 3) -> int:
    """Operations of a training step for each clip: forward once, backward twice that.

    The input's gradient is counted too, 0.3 % of the whole, though nobody takes it.
    """
    return _STEP * forward(config, num_classes)


def parameters(config: TrainConfig, num_classes: int = 3) -> int:
    """How many numbers are trained."""
    optimizer, _ = make_optimizer(config)
    shapes = jax.eval_shape(
        lambda key: init_state(
            key,
            1,
            model=make_model(config, num_classes=num_classes),
            optimizer=optimizer,
            clip_shape=(config.frames, config.size, config.size, 3),
        ),
        jax.random.key(0),
    )
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes.params))


def _halved(length: int) -> int:
    """The length after an odd kernel with padding ``k // 2`` and stride 2."""
    return (length + 1) // 2
