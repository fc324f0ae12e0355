"""Converts command-line flags and saved settings to ``TrainConfig``, and back."""

import contextlib
import dataclasses
import difflib
import functools
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import tyro

from meranet_jax import recognisers
from meranet_jax.config import Preset, TrainConfig, default_config
from meranet_jax.errors import UserError
from meranet_jax.models.settings import NetworkSettings
from meranet_jax.recognisers import Network
from meranet_jax.validation import has_type


class DeterminedFlags(Protocol):
    """What the weights that ``--init`` names determine; see ``runs.origins``.

    Attributes:
      flags: values of the flags that they determine, ``model`` among them.
      preset: the default of ``--preset``.
    """

    flags: Mapping[str, object]
    preset: Preset


FindWeights = Callable[[str, Collection[str], str | None], DeterminedFlags]


@dataclasses.dataclass(frozen=True)
class _Init:
    """The flags that choose weights, which determine the defaults of ``_Recipe``."""

    init: str | None = None
    input: str | None = None


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """Flags that determine the defaults of the other flags."""

    dataset: str = TrainConfig.dataset
    preset: Preset = TrainConfig.preset
    model: str = TrainConfig.model


def parse(
    arguments: Sequence[str],
    *,
    description: str = "",
    check_dataset: Callable[[str], object] = lambda name: None,
    find_weights: FindWeights | None = None,
) -> TrainConfig:
    """Parses the flags of ``train.py``.

    Only the flags of the chosen recogniser are accepted, and listed by ``--help``.

    Args:
      arguments: the command line without the program's name.
      description: the first lines of ``--help``.
      check_dataset: called with the name of each data set; raises if it is unknown.
      find_weights: returns what the weights determine that ``--init`` names, given its
        value, all values on the command line, of which a ``MODULE:NAME`` is trusted,
        and the input that is asked for, if any. None if this program does not start
        from weights.

    Raises:
      UserError: if a flag is unknown, a value is invalid, or contradicts the weights.
      SystemExit: after ``--help``, or if a value cannot be parsed.
    """
    arguments = list(arguments)
    known: dict[str, Any] = {"return_unknown_args": True, "add_help": False}
    asked = tyro.cli(_Init, args=arguments, **known)[0]
    init = asked.init
    if init is not None and find_weights is None:
        raise UserError(
            f"--init={init}: these runs do not start from weights. Leave out --init."
        )
    weights = None
    if init is not None and find_weights is not None:
        values = [a.partition("=")[2] if a[:1] == "-" else a for a in arguments]
        recipe, _ = tyro.cli(_Recipe, args=arguments, **known)
        preset = recognisers.find(recipe.model).presets.get(recipe.preset, {})
        weights = find_weights(init, values, asked.input or preset.get("input"))
    default_recipe = _Recipe()
    if weights is not None:
        model = str(weights.flags["model"])
        default_recipe = _Recipe(preset=weights.preset, model=model)
    recipe, _ = tyro.cli(_Recipe, args=arguments, default=default_recipe, **known)
    if weights is not None:
        TrainConfig(model=recipe.model, init=init)  # raises for a descriptor
        check_weights(init, weights.flags, {"model": recipe.model})
    for dataset in recipe.dataset.split(","):
        check_dataset(dataset.strip())
    default = default_config(
        recipe.dataset,
        recipe.preset,
        recipe.model,
        None if weights is None else weights.flags,
    )
    command_line = _command_line(recipe.model)
    parsed, unknown = tyro.cli(
        command_line,
        args=arguments,
        default=command_line(**vars(default)),
        description=description,
        use_underscores=True,
        return_unknown_args=True,
        config=(tyro.conf.DisallowNone,),  # --help would offer None as a value
    )
    if unknown:
        raise UserError(_describe_unknown(unknown[0], recipe.model))
    config = TrainConfig(**vars(parsed))
    if weights is not None:
        check_weights(init, weights.flags, config.flags())
    return config


def check_weights(
    init: str, of_weights: Mapping[str, object], flags: Mapping[str, object]
) -> None:
    """Checks flags against those that weights determine.

    The number of frames and the size may differ: weights of convolutions fit any.

    Args:
      init: the value of ``--init``, for messages.
      of_weights: values of the flags that the weights determine.
      flags: values of flags.

    Raises:
      UserError: if a value differs.
    """
    for name, value in of_weights.items():
        if name in ("frames", "size"):
            continue
        if name in flags and flags[name] != value:
            raise UserError(
                f"--{name}={_to_text(flags[name])}: the weights of --init={init} are "
                f"of a network with --{name}={_to_text(value)}. Leave out --{name}, or "
                "choose other weights."
            )


def _to_text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@functools.cache
def _command_line(model: str) -> type:
    """Returns ``TrainConfig`` with the types that tyro needs."""
    fields = [
        ("settings", tyro.conf.OmitArgPrefixes[settings_type(model)]),
        # A flag that may be given several times
        ("table", tyro.conf.UseAppendAction[tuple[str, ...]], TrainConfig.table),
    ]
    return dataclasses.make_dataclass(
        "CommandLine", fields, bases=(TrainConfig,), frozen=True
    )


def _describe_unknown(argument: str, model: str) -> str:
    flag = argument.partition("=")[0]
    name = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
    if name == "attention":
        return f"{flag} has been replaced: choose --model=resnet3d, without attention."
    for other in recognisers.BUILT_IN:
        own: set[str] = set()
        with contextlib.suppress(UserError):  # its packages may not be installed
            settings = recognisers.find(other).settings
            own = {field.name for field in dataclasses.fields(settings)}
        if name in own:
            return (
                f"--model={model} has no flag {flag}; --model={other} has. "
                f"--model={model} --help lists its flags."
            )
    valid = [f"--{name}" for name in flag_types(model)]
    nearest = difflib.get_close_matches(f"--{name}", valid, n=1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"Unknown flag {flag}.{hint} Valid flags: {', '.join(valid)}."


def changed_flags(config: TrainConfig) -> dict[str, tuple[object, object]]:
    """Returns the flags that differ from the defaults of data set, preset and model.

    Returns:
      The value and its default by the name of the flag. The defaults are those of a
      start from random weights.
    """
    default = default_config(config.dataset, config.preset, config.model).flags()
    return {
        name: (value, default[name])
        for name, value in config.flags().items()
        if name not in vars(_Recipe()) and value != default[name]
    }


def to_arguments(config: TrainConfig) -> list[str]:
    """Returns a command line that ``parse`` converts to the configuration."""
    arguments = [f"--dataset={config.dataset}", f"--preset={config.preset}"]
    if config.model != TrainConfig.model:
        arguments.append(f"--model={config.model}")
    for name, (value, _) in changed_flags(config).items():
        if isinstance(value, bool):
            arguments.append(f"--{'' if value else 'no-'}{name}")
        elif name == "table":
            arguments += [f"--{name}={one}" for one in value]
        elif isinstance(value, tuple):
            arguments += [f"--{name}", *map(str, value)]
        else:
            arguments.append(f"--{name}={value}")
    return arguments


def settings_type(model: str) -> type:
    """Returns the dataclass of a recogniser's settings.

    Raises:
      UserError: if there is no such recogniser, or one of its settings has the name of
        a flag that every recogniser has.
    """
    recogniser = recognisers.find(model)
    if isinstance(recogniser, Network) and not issubclass(
        recogniser.settings, NetworkSettings
    ):
        raise UserError(
            f"--model={model}: {recogniser.settings.__name__} must derive from "
            "meranet_jax.models.settings.NetworkSettings, which has the flags of "
            "training."
        )
    common = {field.name for field in dataclasses.fields(TrainConfig)}
    own = {field.name for field in dataclasses.fields(recogniser.settings)}
    if both := sorted(common & own):
        raise UserError(
            f"--model={model}: the setting {both[0]} has the name of a flag that every "
            "recogniser has. Rename it."
        )
    return recogniser.settings


@functools.cache
def flag_types(model: str) -> Mapping[str, Any]:
    """Returns the type annotation of each flag of a recogniser by name."""
    hints = typing.get_type_hints(TrainConfig)
    del hints["settings"]
    return hints | typing.get_type_hints(settings_type(model))


def read_flags(saved: Mapping[str, object]) -> TrainConfig:
    """Makes a configuration from the saved values of ``TrainConfig.flags``.

    Settings of version 0.1 have ``attention`` instead of ``model``, and are converted.

    Args:
      saved: values by the name of the flag, as read from JSON.

    Raises:
      UserError: if a value is invalid.
      ValueError: if a value has another type than its flag.
    """
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in saved.items()
    }
    values["table"] = saved_tables(values.get("table"))
    if "model" not in values:
        attention = values.pop("attention", True)
        values["model"] = "meranet" if attention else "resnet3d"
        if not attention:
            for name in ("attentions", "reduction", "kernel_size", "shared"):
                values.pop(name, None)
    for name, hint in flag_types(values["model"]).items():
        if name in values and not has_type(values[name], hint):
            raise ValueError(f"{name} is {values[name]!r}")
    return TrainConfig.from_flags(**values)


def saved_tables(saved: object) -> object:
    """Converts the saved value of ``table``; earlier versions had one name or None."""
    if saved is None:
        return ()
    return (saved,) if isinstance(saved, str) else saved
