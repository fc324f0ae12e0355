"""Reads weights from a run or a file, and writes them to a file of another format."""

import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

from meranet_jax import recognisers, weights_file
from meranet_jax.convert import networks, safetensors_file, state_dict, torch_file
from meranet_jax.errors import UserError, explain
from meranet_jax.inputs import registry as inputs
from meranet_jax.models import torch_names
from meranet_jax.validation import check_minimums
from meranet_jax.weights_file import Metadata, Weights

# What ``save`` writes, by suffix.
FORMATS = {
    ".npz": "weights file",
    ".safetensors": "safetensors",
    **dict.fromkeys(torch_file.SUFFIXES, "PyTorch state dict"),
}

# torchvision's r3d_18 with the weights of Kinetics-400. PyTorch puts the first digits
# of a file's SHA-256 into its name, here r3d_18-b3b3357e.pth.
_KINETICS_DIGEST = "b3b3357e"
_KINETICS_CLASSES = 400
_DIGEST_IN_NAME = re.compile(r"r3d_18-([0-9a-f]{8,64})\.pth")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overrides:
    """Values that replace those of metadata, or complete them; None changes nothing.

    Attributes:
      input: a value of ``--input``.
      frames: T of the clips.
      size: H and W of the clips.
      classes: names of the outputs, in order.
      origin: one sentence for people.
      datasets: names of the data sets that the weights were trained on.
    """

    input: str | None = None
    frames: int | None = None
    size: int | None = None
    classes: tuple[str, ...] | None = None
    origin: str | None = None
    datasets: tuple[str, ...] | None = None

    def apply(self, metadata: Metadata, source: Path) -> Metadata:
        """Returns metadata with these values.

        Raises:
          UserError: if a value is invalid, the number of classes differs, or the
            weights are known to come from other data sets.
        """
        check_minimums(self, {"frames": 1, "size": 1})
        recorded = metadata.datasets
        if self.datasets and recorded and set(recorded) != set(self.datasets):
            # Their subjects must not be tested, which --init and eval.py check.
            raise UserError(
                f"--datasets={','.join(self.datasets)}: the weights in {source} were "
                f"trained on {', '.join(recorded)}. Leave out --datasets."
            )
        known = {name: value for name, value in vars(self).items() if value is not None}
        classes = known.get("classes", metadata.classes)
        if len(classes) != len(metadata.classes):
            raise UserError(
                f"--classes names {len(classes)} classes, but the weights in {source} "
                f"have {len(metadata.classes)} outputs."
            )
        return dataclasses.replace(metadata, **known)


@dataclasses.dataclass(frozen=True)
class Converted:
    """Weights that were read, and checked against their network.

    Attributes:
      weights: a tree of arrays.
      metadata: of the weights.
      made: their network.
    """

    weights: Weights
    metadata: Metadata
    made: networks.MadeNetwork


def read(
    source: Path,
    *,
    overrides: Overrides = Overrides(),  # noqa: B008 (frozen)
    seed: int | None = None,
    fold: str | None = None,
    import_modules: bool = False,
) -> Converted:
    """Reads weights.

    Args:
      source: a run folder, a weights file (.npz), a safetensors file that ``save`` has
        written, or a PyTorch file (.pth, .pt) with a state dict of r3d_18, of STSTNet,
        or of our networks as ``save`` writes it.
      overrides: to replace or complete the metadata.
      seed: seed of a fold of a run.
      fold: name of a fold of a run.
      import_modules: whether modules of users that a file names are imported.

    Returns:
      The weights, whose names and shapes are those of their network.

    Raises:
      UserError: if they cannot be read, or do not belong to the network.
    """
    if source.is_dir():
        # Needs packages of the extra train.
        from meranet_jax.convert import run_folder

        weights, metadata = run_folder.read(source, seed, fold)
        import_modules = True
    elif seed is not None or fold is not None:
        raise UserError(f"--seed and --fold can only be used with a run: {source}.")
    elif source.suffix in torch_file.SUFFIXES:
        return _read_torch(source, overrides, import_modules)
    elif source.suffix == ".npz":
        weights, metadata = weights_file.load(source)
    elif source.suffix == ".safetensors":
        weights, metadata = _read_safetensors(source)
    else:
        raise UserError(
            f"{source} is neither the folder of a run nor a file of the type "
            f"{', '.join(FORMATS)}."
        )
    metadata = overrides.apply(metadata, source)
    made = networks.make(metadata, source, import_modules=import_modules)
    weights_file.check_shapes(source, weights, made.shapes, made.title)
    return Converted(weights, metadata, made)


def save(target: Path, converted: Converted) -> None:
    """Writes weights in the format that the suffix of a file names, atomically.

    Args:
      target: the file.
      converted: the weights.

    Raises:
      UserError: if there is no such format, or the file cannot be written.
    """
    check_suffix(target)
    if target.suffix == ".npz":
        weights_file.save(target, converted.weights, converted.metadata)
        return
    text = converted.metadata.to_json()
    if target.suffix == ".safetensors":
        arrays = weights_file.flatten(converted.weights)
        safetensors_file.write(target, arrays, text)
    else:
        arrays = state_dict.to_torch(converted.made.network, converted.weights)
        torch_file.write(target, arrays, text)


def check_suffix(target: Path) -> None:
    """Raises UserError unless the suffix of a file names a format."""
    if target.suffix not in FORMATS:
        listed = ", ".join(f"{suffix} ({name})" for suffix, name in FORMATS.items())
        raise UserError(
            f"{target}: the suffix names the format. Expected one of {listed}."
        )


def _read_safetensors(source: Path) -> tuple[Weights, Metadata]:
    arrays, text = safetensors_file.read(source)
    if text is None:
        raise UserError(
            f"{source} has no metadata of this package. Only safetensors files that it "
            "has written can be read."
        )
    weights_file.check_values(source, arrays)
    try:
        return weights_file.unflatten(arrays), Metadata.from_json(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"Cannot use {source}: {error}.") from error


def _read_torch(source: Path, overrides: Overrides, import_modules: bool) -> Converted:
    digest = _read_digest(source)
    arrays, text = torch_file.read(source)
    try:
        if text is None:
            metadata = _find_metadata(source, arrays, overrides, digest)
        else:
            metadata = Metadata.from_json(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{source} is not a state dict of r3d_18, of STSTNet or of our networks: "
            f"{error}."
        ) from error
    metadata = overrides.apply(metadata, source)
    made = networks.make(metadata, source, import_modules=import_modules)
    weights = state_dict.from_torch(
        source, arrays, made.network, made.shapes, made.title
    )
    return Converted(weights, metadata, made)


def _read_digest(source: Path) -> str:
    """Returns the SHA-256 of a file.

    Raises:
      UserError: if the file cannot be read, or its name has another digest.
    """
    try:
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise UserError(f"There is no file {source}.") from error
    except OSError as error:
        raise UserError(explain(error)) from error
    named = _DIGEST_IN_NAME.fullmatch(source.name)
    if named and not digest.startswith(named[1]):
        raise UserError(
            f"{source} is damaged: its SHA-256 begins with {digest[: len(named[1])]}, "
            f"not with {named[1]}. Download it again."
        )
    return digest


def _find_metadata(source: Path, arrays, overrides: Overrides, digest: str) -> Metadata:
    """Returns the metadata of a state dict that another program has written.

    Raises:
      UserError: if the input is unknown.
      ValueError: if it is not a state dict of our networks.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    found = torch_names.find_architecture(shapes)
    network = recognisers.find(found.model)
    network_input = network.inputs[0]
    if (
        overrides.input is None
        and found.channels != inputs.find(network_input).channels
    ):
        raise UserError(
            f"{source} has the weights of a network for clips with {found.channels} "
            "channels. Name its input with --input."
        )
    kinetics = digest.startswith(_KINETICS_DIGEST)
    prefix = "kinetics" if kinetics else "class"
    digits = len(str(_KINETICS_CLASSES)) if kinetics else 1
    origin = f"Converted from {source.name} (SHA-256 {digest[:8]}), a PyTorch file."
    if kinetics:
        origin = f"r3d_18 of torchvision, trained on Kinetics-400. {origin}"
    defaults: dict[str, Any] = {"frames": 16, "size": 112, **network.defaults}
    return Metadata(
        model=found.model,
        settings=found.settings,
        input=network_input,
        frames=defaults["frames"],
        size=defaults["size"],
        classes=tuple(f"{prefix}_{n:0{digits}}" for n in range(found.num_classes)),
        origin=origin,
        datasets=("kinetics400",) if kinetics else None,
    )
