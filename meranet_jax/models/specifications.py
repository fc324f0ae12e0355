"""The specifications of the networks, by which the registry knows them."""

from collections.abc import Callable

import flax.linen as nn

from meranet_jax.errors import UserError
from meranet_jax.models import layers
from meranet_jax.models.conv import Conv3D
from meranet_jax.models.meranet import MERANet, ModuleDef
from meranet_jax.models.settings import (
    PAPER_ATTENTIONS,
    MERANetSettings,
    NetworkSettings,
    ResNet3DSettings,
)
from meranet_jax.models.torch_names import resnet_name
from meranet_jax.recognisers import NETWORK_INPUTS, Network, load

_PAPER = (
    "V. R. Gajjala, S. P. T. Reddy, S. Mukherjee, S. R. Dubey: MERANet: Facial "
    "Micro-Expression Recognition using 3D Residual Attention Network"
)

# A narrower, shallower network: minutes on two cores. With so few steps it needs a
# smaller learning rate.
_SMALL = {
    "width": 16,
    "stage_sizes": (1, 1, 1, 1),
    "size": 56,
    "epochs": 18,
    "learning_rate": 0.003,
}

# Chosen on synthetic/wild_dev, whose subjects are tested nowhere (docs/benchmark.md).
_NEW_PEOPLE = _SMALL | {
    "input": "onset_apex_flow",
    "epochs": 40,
    "augment": ("shift", "rotate", "scale"),
    "select": "last",
    "protocol": "loso",
}
_FINE_TUNING = {"epochs": 20, "learning_rate": 0.0003}


def make_resnet3d(settings: ResNet3DSettings, **arguments) -> MERANet:
    """Makes the 3D ResNet of the settings; for ``arguments`` see ``MERANet``."""
    return MERANet(
        attention=False,
        width=settings.width,
        stage_sizes=settings.stage_sizes,
        shortcut=settings.shortcut,
        remat=settings.remat,
        **arguments,
    )


def make_meranet(settings: MERANetSettings, **arguments) -> MERANet:
    """Makes the MERANet of the settings; for ``arguments`` see ``MERANet``.

    Raises:
      UserError: if an attention module cannot be loaded or used.
    """
    return MERANet(
        attentions=tuple(map(_attention, settings.attentions)),
        width=settings.width,
        stage_sizes=settings.stage_sizes,
        shortcut=settings.shortcut,
        reduction=settings.reduction,
        kernel_size=settings.kernel_size,
        shared=settings.shared,
        remat=settings.remat,
        **arguments,
    )


def _attention(name: str) -> str | ModuleDef:
    """Returns one of ``PAPER_ATTENTIONS``, or the class that MODULE:CLASS names."""
    if name in PAPER_ATTENTIONS:
        return name
    found = load(name, "--attentions", PAPER_ATTENTIONS)
    reason = None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        reason = "it is not a class of Flax modules"
    else:
        try:
            found(conv=Conv3D)
        except TypeError as error:
            reason = f"it must be made with conv alone, but {error}"
    if reason:
        raise UserError(f"--attentions: {name} cannot be used: {reason}.")
    return found


def check_shapes(network: Network, settings: NetworkSettings, clip_shape) -> None:
    """Traces the network on one clip by shapes alone.

    It finds in seconds what would otherwise fail after the clips have been prepared.

    Args:
      network: the specification.
      settings: of the network.
      clip_shape: of the input, [T, H, W, C].

    Raises:
      UserError: if the network cannot be made, does not accept such clips, has no
        layer that ``freeze`` names, or clips are so small that a layer has no values.
    """
    model = network.make(settings, num_classes=2, axis_name=None, dtype=None)
    try:
        with layers.refuse_empty_layers():
            outputs, weights = layers.trace(model, clip_shape)
    except layers.EmptyLayerError as error:
        frames, size, _, channels = clip_shape
        smallest = _find_smallest(model, size, lambda n: (frames, n, n, channels))
        advice = "Raise --size or --frames"
        if smallest is not None:
            advice = f"The smallest --size is {smallest}"
        raise UserError(
            f"{network.title(settings)}: clips of {frames} x {size} x {size} are too "
            f"small, since {error}. {advice}."
        ) from error
    except ValueError as error:
        raise UserError(f"{network.title(settings)}: {error}.") from error
    if getattr(outputs, "shape", None) != (1, 2):
        raise UserError(
            f"{network.title(settings)} returns {outputs} for one clip and two "
            "classes. Expected logits of the shape (1, 2)."
        )
    layers.find_groups(settings.freeze, weights["params"])


def _find_smallest(
    model: nn.Module, too_small: int, shape: Callable[[int], tuple[int, ...]]
) -> int | None:
    """Returns the smallest size of clips with which all layers have values.

    Args:
      model: the network.
      too_small: a size with which one has none.
      shape: of clips of a size, [T, H, W, C].

    Returns:
      The size; None if it is more than 1024.
    """

    def fits(size: int) -> bool:
        try:
            with layers.refuse_empty_layers():
                layers.trace(model, shape(size))
        except ValueError:
            return False
        return True

    fitting = 2 * too_small
    while not fits(fitting):
        if fitting > 1024:
            return None
        too_small, fitting = fitting, 2 * fitting
    while fitting - too_small > 1:
        between = (too_small + fitting) // 2
        if fits(between):
            fitting = between
        else:
            too_small = between
    return fitting


def _variant(settings: MERANetSettings) -> str:
    if settings.attentions == PAPER_ATTENTIONS:
        return ""
    return "-" + "+".join(name.rpartition(":")[2] for name in settings.attentions)


def _title(settings: MERANetSettings) -> str:
    if settings.attentions == PAPER_ATTENTIONS:
        return "MERANet"
    return f"3D ResNet with {', '.join(settings.attentions)} attention"


MERANET = Network(
    name="meranet",
    title=_title,
    citation=_PAPER,
    settings=MERANetSettings,
    inputs=NETWORK_INPUTS,
    presets={"small": _SMALL, "new_people": _NEW_PEOPLE},
    fine_tuning={"new_people": _FINE_TUNING},
    variant=_variant,
    make=make_meranet,
    torch_name=resnet_name,
)

RESNET3D = Network(
    name="resnet3d",
    title=lambda settings: "3D ResNet",
    citation=_PAPER,
    settings=ResNet3DSettings,
    inputs=NETWORK_INPUTS,
    presets={"small": _SMALL, "new_people": _NEW_PEOPLE},
    fine_tuning={"new_people": _FINE_TUNING},
    make=make_resnet3d,
    torch_name=resnet_name,
)
