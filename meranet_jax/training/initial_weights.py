"""Weights from which the training of a network starts instead of random ones."""

from meranet_jax.config import TrainConfig
from meranet_jax.inputs import registry as inputs
from meranet_jax.models.layers import find_groups, head_groups, weight_shapes
from meranet_jax.training.step import make_model
from meranet_jax.training.trainers import Weights


def shapes(config: TrainConfig, num_classes: int) -> Weights:
    """Returns a tree of the shapes and types of the weights of a network.

    Args:
      config: names the network and its settings.
      num_classes: number of outputs.
    """
    model = make_model(config, num_classes=num_classes)
    return weight_shapes(model, _clip_shape(config))


def head(config: TrainConfig) -> frozenset[str]:
    """Returns the parameter groups that depend on the number of classes."""
    return head_groups(
        lambda num_classes: make_model(config, num_classes=num_classes),
        _clip_shape(config),
    )


def frozen(config: TrainConfig, weights: Weights) -> frozenset[str]:
    """Returns the parameter groups that ``--freeze`` names.

    Raises:
      UserError: see ``layers.find_groups``.
    """
    return find_groups(config.settings.freeze, weights["params"])


def without(weights: Weights, groups: frozenset[str]) -> Weights:
    """Returns weights without some parameter groups."""
    return {
        collection: {name: tree for name, tree in trees.items() if name not in groups}
        for collection, trees in weights.items()
    }


def _clip_shape(config: TrainConfig) -> tuple[int, ...]:
    return inputs.find(config.input).shape(config.frames, config.size)
