"""The network that weights belong to, made from their metadata."""

import dataclasses
from typing import Any

from meranet_jax import recognisers
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry as inputs
from meranet_jax.models.layers import weight_shapes
from meranet_jax.models.settings import of_architecture
from meranet_jax.recognisers import Network
from meranet_jax.weights_file import Metadata


@dataclasses.dataclass(frozen=True)
class MadeNetwork:
    """A network with the settings of its weights.

    Attributes:
      network: the specification.
      title: its name in messages.
      shapes: the shapes and types of its weights, a tree.
    """

    network: Network
    title: str
    shapes: dict[str, Any]


def make(metadata: Metadata, source: object, *, import_modules: bool) -> MadeNetwork:
    """Makes the network of weights without allocating them.

    Args:
      metadata: of the weights.
      source: where they are, for messages.
      import_modules: whether modules of users that the metadata name are imported.

    Raises:
      UserError: if there is no such network, or the metadata name a module that must
        not be imported.
    """
    network = recognisers.find_network(
        metadata.model,
        metadata.settings,
        source,
        trusted=None if import_modules else (),
        advice="Set --import_modules if you trust it.",
    )
    if metadata.input not in network.inputs:
        raise UserError(
            f"{source}: --input={metadata.input} is no input of {metadata.model}, "
            f"which accepts {', '.join(network.inputs)}."
        )
    settings = of_architecture(network, metadata.settings, source)
    shape = inputs.find(metadata.input).shape(metadata.frames, metadata.size)
    model = network.make(
        settings, num_classes=len(metadata.classes), axis_name=None, dtype=None
    )
    try:
        shapes = weight_shapes(model, shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{source}: {network.title(settings)}: {error}.") from error
    return MadeNetwork(network, network.title(settings), shapes)
