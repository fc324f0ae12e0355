"""The network that weights belong to, made from their metadata."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from meranet_jax import recognisers
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry as inputs
from meranet_jax.models.layers import weight_shapes
from meranet_jax.recognisers import Network
from meranet_jax.validation import has_type
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
    named = [metadata.model, *_strings(metadata.settings)]
    if not import_modules and (modules := [name for name in named if ":" in name]):
        raise UserError(
            f"{source} needs the Python module of {modules[0]}, and importing it runs "
            "its code. Set --import_modules if you trust it."
        )
    network = recognisers.find(metadata.model)
    if not isinstance(network, Network):
        raise UserError(
            f"{source} has the weights of {metadata.model}, which is not a network."
        )
    if metadata.input not in network.inputs:
        raise UserError(
            f"{source}: --input={metadata.input} is no input of {metadata.model}, "
            f"which accepts {', '.join(network.inputs)}."
        )
    settings = _make_settings(network, metadata.settings, source)
    shape = inputs.find(metadata.input).shape(metadata.frames, metadata.size)
    model = network.make(
        settings, num_classes=len(metadata.classes), axis_name=None, dtype=None
    )
    try:
        shapes = weight_shapes(model, shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{source}: {network.title(settings)}: {error}.") from error
    return MadeNetwork(network, network.title(settings), shapes)


def _make_settings(network: Network, saved: Mapping[str, Any], source: object) -> Any:
    """Returns the settings of a network; raises UserError for others than it has."""
    hints = typing.get_type_hints(network.settings)
    for name, value in saved.items():
        if name not in hints or not has_type(value, hints[name]):
            raise UserError(
                f"{source}: {network.name} has no setting {name}={value!r}. It may "
                "have been written by another version."
            )
    return network.settings(**saved)


def _strings(settings: Mapping[str, Any]) -> list[str]:
    """Returns all strings in the values of settings."""
    found = []
    for value in settings.values():
        values = value if isinstance(value, tuple) else (value,)
        found += [item for item in values if isinstance(item, str)]
    return found
