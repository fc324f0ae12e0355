"""Specifications of recognisers, and their registry, which ``--model`` names.

A recogniser turns clips into class probabilities. There are two kinds: a ``Network`` is
trained step by step on the devices; a ``Descriptor`` computes hand-crafted features
once and fits a classifier to them. This module imports neither JAX nor scikit-learn;
the registry imports a recogniser's own module when it is asked for.
"""

import dataclasses
import difflib
import functools
import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from meranet_jax.errors import UserError

# Inputs that networks for clips of any length and number of channels accept.
NETWORK_INPUTS = (
    "rgb",
    "grey",
    "difference",
    "flow",
    "flow_strain",
    "onset_apex_flow",
    "dynamic_image",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recogniser:
    """The specification of a recogniser.

    Attributes:
      name: its name in run folders.
      title: maps its settings to its name in reports and tables.
      title_suffix: maps the number of frames of a clip to what follows the title.
      citation: the publication that describes it.
      settings: a frozen dataclass of its own settings, with a default for each. They
        are its flags; no name may be one of ``TrainConfig``'s.
      check: raises UserError if the recogniser with some settings does not accept clips
        of a shape [T, H, W, C]; called before clips are prepared.
      inputs: names of the inputs that it accepts; the first is the default.
      defaults: flags of ``TrainConfig`` whose defaults differ for this recogniser.
      presets: for each preset the flags that it changes, of ``TrainConfig`` or of its
        own settings.
      fine_tuning: for each preset the flags that it changes in a run that starts from
        the weights of ``--init``, in addition.
      selection: maps its settings to a phrase for reports: what is tested.
      variant: maps its settings to a suffix of the run's name; empty for the default.
    """

    name: str
    title: Callable[[Any], str]
    citation: str
    settings: type
    check: Callable[[Any, tuple[int, int, int, int]], None] = lambda *arguments: None
    inputs: tuple[str, ...] = ("rgb",)
    defaults: Mapping[str, object] = dataclasses.field(default_factory=dict)
    presets: Mapping[str, Mapping[str, object]] = dataclasses.field(
        default_factory=dict
    )
    fine_tuning: Mapping[str, Mapping[str, object]] = dataclasses.field(
        default_factory=dict
    )
    selection: Callable[[Any], str]
    variant: Callable[[Any], str] = lambda settings: ""
    title_suffix: Callable[[int], str] = lambda frames: ""


_SELECTIONS = {
    "best_val": "the checkpoint of the highest accuracy on the fold's validation part, "
    "of equal ones the one of the lowest loss",
    "last": "the checkpoint of the last epoch",
}


def describe_checkpoint(settings: Any) -> str:
    """Returns in words which checkpoint of a network ``settings.select`` tests."""
    return _SELECTIONS[settings.select]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network(Recogniser):
    """A recogniser that is a Flax module.

    Attributes:
      make: makes the module from its settings. It takes the settings and, by keyword,
        ``num_classes``; ``axis_name``, the pmapped axis over which batch statistics
        are averaged, or None; and ``dtype``, of the computation, or None for float32.
        The module is called with clips [B, T, H, W, C] and ``train``, and returns
        logits [B, num_classes]. ``settings`` derives from
        ``models.settings.NetworkSettings``.
      title_with_init: the same as ``title`` for runs that start from the weights of
        ``--init``; None if these have the same title.
      torch_name: maps the path of a layer, such as ``block1_1/conv1``, to its name in
        state dicts of PyTorch. By default both are the same, with dots.
    """

    make: Callable[..., Any]
    title_with_init: Callable[[Any], str] | None = None
    torch_name: Callable[[str], str] = lambda layer: layer.replace("/", ".")
    selection: Callable[[Any], str] = describe_checkpoint


@dataclasses.dataclass(frozen=True)
class ArrayShape:
    """The shape and the type of an array.

    Attributes:
      shape: its dimensions; None stands for any number.
      dtype: name of its type.
    """

    shape: tuple[int | None, ...]
    dtype: str = "float32"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Descriptor(Recogniser):
    """A recogniser of hand-crafted features with a classifier.

    Attributes:
      features: maps clips [T, H, W, C], as the input shows them, the settings and
        ``workers``, the number of threads, to float32 [N, F]. The features of a clip
        depend on this clip only.
      feature_length: maps settings to F.
      fit: fits the classifier to a fold. It takes the settings, features [N, F], labels
        [N], groups [N] (the subjects) and, by keyword, ``seed`` and ``num_classes``,
        and returns its weights, a dictionary of arrays, and what it selected, which
        JSON can hold. It is called in several threads at once.
      weight_shapes: maps settings and, by keyword, ``num_features`` and
        ``num_classes`` to the shape and type of each of the weights: an array, or an
        ``ArrayShape``.
      probabilities: maps weights and features [N, F] to float32 [N, num_classes].
      landmarks: whether ``features`` takes ``landmarks`` by keyword: the five landmarks
        of the face in the frame that the flow starts from, float64 [N, 5, 2], x and y
        relative to the width and the height of the frame; NaN where no face was found.
        The inputs must then be of optical flow.
    """

    features: Callable[..., Any]
    feature_length: Callable[[Any], int]
    fit: Callable[..., tuple[dict[str, Any], dict[str, Any]]]
    weight_shapes: Callable[..., dict[str, Any]]
    probabilities: Callable[..., Any]
    landmarks: bool = False


# Where the specification of each built-in recogniser is.
BUILT_IN = {
    "meranet": "meranet_jax.models.specifications:MERANET",
    "resnet3d": "meranet_jax.models.specifications:RESNET3D",
    "learnet": "meranet_jax.models.learnet:LEARNET",
    "microexpstcnn": "meranet_jax.models.microexpstcnn:MICROEXPSTCNN",
    "microattention": "meranet_jax.models.microattention:MICROATTENTION",
    "flow_cnn3d": "meranet_jax.models.flow_cnn3d:FLOW_CNN3D",
    "ststnet": "meranet_jax.models.ststnet:STSTNET",
    "off_apexnet": "meranet_jax.models.off_apexnet:OFF_APEXNET",
    "rcn": "meranet_jax.models.rcn:RCN_A",
    "lbp_top": "meranet_jax.descriptors.specifications:LBP_TOP",
    "bi_woof": "meranet_jax.descriptors.specifications:BI_WOOF",
    "fmbh": "meranet_jax.descriptors.specifications:FMBH",
    "stclqp": "meranet_jax.descriptors.specifications:STCLQP",
    "mdmo": "meranet_jax.descriptors.specifications:MDMO",
    "landmark_flow": "meranet_jax.descriptors.specifications:LANDMARK_FLOW",
}


@functools.cache
def find(name: str) -> Recogniser:
    """Returns the recogniser that ``--model`` names.

    Args:
      name: one of ``BUILT_IN``, or ``MODULE:NAME`` of one's own.

    Raises:
      UserError: if there is none. Exceptions that the module itself raises are let
        through, with their traceback.
    """
    if name not in BUILT_IN and not all(name.partition(":")):
        nearest = difflib.get_close_matches(name, BUILT_IN, n=1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        raise UserError(
            f"--model={name} is no recogniser.{hint} Choose {', '.join(BUILT_IN)}, or "
            "your own, MODULE:NAME."
        )
    try:
        found = load(BUILT_IN.get(name, name), "--model")
    except ModuleNotFoundError as error:
        if name not in BUILT_IN:
            raise
        raise UserError(
            f"--model={name} needs a package that is not installed: {error}. Install "
            'it with pip install -e ".[descriptors]" in the checkout.'
        ) from error
    if not isinstance(found, Network | Descriptor):
        raise UserError(
            f"--model={name}: {name.partition(':')[2]} is a {type(found).__name__}. "
            "Expected a meranet_jax.recognisers.Network or Descriptor."
        )
    return found


def find_network(
    model: str,
    settings: Mapping[str, Any],
    source: object,
    *,
    trusted: Collection[str] | None,
    advice: str,
) -> Network:
    """Returns the network that weights name.

    Args:
      model: value of ``--model``.
      settings: that determine the architecture, by name.
      source: where the weights are, for messages.
      trusted: the ``MODULE:NAME`` that may be imported; None for any.
      advice: for the message about another one: how it is trusted.

    Raises:
      UserError: if there is no such network, or the weights name a module that must not
        be imported.
    """
    for name in (model, *strings(settings)):
        if ":" in name and trusted is not None and name not in trusted:
            raise UserError(
                f"{source} needs the Python module of {name}, and importing it runs "
                f"its code. {advice}"
            )
    network = find(model)
    if not isinstance(network, Network):
        raise UserError(
            f"{source}: its recogniser is {model}, a descriptor. Only networks have "
            "weights to start from or to convert."
        )
    return network


def strings(settings: Mapping[str, Any]) -> list[str]:
    """Returns all strings in the values of settings."""
    found = []
    for value in settings.values():
        values = value if isinstance(value, tuple) else (value,)
        found += [item for item in values if isinstance(item, str)]
    return found


def load(name: str, flag: str, valid: Sequence[str] = ()) -> Any:
    """Imports the object that MODULE:NAME names.

    Args:
      name: ``MODULE:NAME``.
      flag: that it was given with, for messages.
      valid: names that the flag takes as well, for messages.

    Raises:
      UserError: if there is no such module or name. Exceptions that the module itself
        raises are let through, with their traceback.
    """
    module, _, wanted = name.partition(":")
    expected = f"one of {', '.join(valid)}, or MODULE:NAME" if valid else "MODULE:NAME"
    try:
        return getattr(importlib.import_module(module), wanted)
    except ModuleNotFoundError as error:
        # One that this module imports and that is missing is the module's own error.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        reason = str(error)
    except AttributeError:
        reason = f"module {module!r} has no attribute {wanted!r}"
    except (TypeError, ValueError) as error:  # ".", "a..b"
        reason = str(error)
    raise UserError(f"{flag}: cannot load {name}: {reason}. Expected {expected}.")
