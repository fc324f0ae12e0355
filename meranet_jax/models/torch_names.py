"""Names of our networks in state dicts of PyTorch.

Those of the 3D ResNet and of MERANet are torchvision's in ``r3d_18``, whose modules are
``torch.nn.Sequential`` of a convolution and its normalisation. The attention modules,
which it does not have, keep our names. Those of STSTNet are its authors'.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from meranet_jax.models.settings import PAPER_ATTENTIONS

_TOP = {"stem": "stem.0", "stem_norm": "stem.1", "head": "fc"}
_IN_BLOCK = {
    "conv1": "conv1.0",
    "norm1": "conv1.1",
    "conv2": "conv2.0",
    "norm2": "conv2.1",
    "projection": "downsample.0",
    "projection_norm": "downsample.1",
}
_BLOCK = re.compile(r"block(\d+)_(\d+)")
_LAYER = re.compile(r"layer(\d{1,4})\.(\d{1,4})\.")


def ststnet_name(layer: str) -> str:
    """Returns the name of a layer of STSTNet in the state dicts of its authors."""
    if layer.endswith("_norm"):
        return f"bn{layer.removeprefix('conv').removesuffix('_norm')}"
    return {"head": "fc"}.get(layer, layer)


def resnet_name(layer: str) -> str:
    """Returns the name of a layer in torchvision's ``r3d_18``.

    Args:
      layer: its path in our network, such as ``block2_1/conv1``.

    Returns:
      Its name, such as ``layer2.0.conv1.0``.
    """
    top, *rest = layer.split("/")
    if found := _BLOCK.fullmatch(top):
        if len(rest) == 1:
            rest = [_IN_BLOCK.get(rest[0], rest[0])]
        return ".".join([f"layer{found[1]}", str(int(found[2]) - 1), *rest])
    return ".".join([_TOP.get(top, top), *rest])


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What the names and shapes of a state dict say about its network.

    Attributes:
      model: the recogniser, ``resnet3d``, ``meranet`` or ``ststnet``.
      settings: its settings that determine the architecture.
      channels: C of the clips.
      num_classes: number of outputs.
    """

    model: str
    settings: Mapping[str, Any]
    channels: int
    num_classes: int


def find_architecture(shapes: Mapping[str, Sequence[int]]) -> Architecture:
    """Finds the 3D ResNet, the MERANet or the STSTNet that a state dict belongs to.

    Channel attention is assumed to come before spatio-temporal attention, as in the
    paper. Other names and shapes are not looked at: they must be compared with those of
    the network.

    Args:
      shapes: the shape of each tensor by its name.

    Raises:
      ValueError: if it has not the layers of these networks.
    """
    if {"conv1.weight", "conv2.weight", "conv3.weight", "bn3.weight"} <= shapes.keys():
        (classes,) = _shape(shapes, "fc.bias", 1)
        return Architecture(
            "ststnet", {}, _shape(shapes, "conv1.weight", 4)[1], classes
        )
    blocks = {(int(b[1]), int(b[2])) for b in map(_LAYER.match, shapes) if b}
    stages = sorted({stage for stage, _ in blocks})
    if stages != list(range(1, len(stages) + 1)) or not stages:
        raise ValueError("it has no layers layer1.0, layer1.1, ..., of r3d_18")
    stem = _shape(shapes, "stem.0.weight", 5)
    (classes,) = _shape(shapes, "fc.bias", 1)
    settings: dict[str, Any] = {
        "width": stem[0],
        "stage_sizes": tuple(sum(s == stage for s, _ in blocks) for stage in stages),
    }
    has_projections = any(".downsample." in name for name in shapes)
    subsamples = len(stages) > 1 and not has_projections
    settings["shortcut"] = "zero_pad" if subsamples else "projection"

    # Read from the last stage, which has the most channels: r divides more exactly.
    squeeze = f"layer{len(stages)}.0.channel_attention.squeeze.weight"
    attention_map = "layer1.0.st_attention.map.weight"
    has = {"channel": squeeze in shapes, "spatio_temporal": attention_map in shapes}
    if not any(has.values()):
        return Architecture("resnet3d", settings, stem[1], classes)
    settings["attentions"] = tuple(name for name in PAPER_ATTENTIONS if has[name])
    if has["channel"]:
        narrow, channels = shapes[squeeze][:2]
        settings["reduction"] = channels // max(narrow, 1)
        settings["shared"] = "mlp" if len(shapes[squeeze]) == 2 else "cnn"
    if has["spatio_temporal"]:
        settings["kernel_size"] = _shape(shapes, attention_map, 5)[2]
    return Architecture("meranet", settings, stem[1], classes)


def _shape(
    shapes: Mapping[str, Sequence[int]], name: str, axes: int
) -> tuple[int, ...]:
    """Returns the shape of a tensor; raises ValueError without one of ``axes`` axes."""
    if name not in shapes:
        raise ValueError(f"it has no {name}")
    if len(shapes[name]) != axes:
        raise ValueError(f"{name} has {len(shapes[name])} axes, not {axes}")
    return tuple(shapes[name])
