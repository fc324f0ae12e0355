"""Formats facts about a run as text: its protocol, classes, weights and devices."""

from collections.abc import Sequence

from meranet_jax import flags
from meranet_jax.config import TrainConfig
from meranet_jax.inputs import registry as inputs
from meranet_jax.runs import reader
from meranet_jax.runs.formatters import count
from meranet_jax.runs.reader import Run

# Description of each protocol, and how its parts are drawn without --split.
_PROTOCOLS = {
    "holdout": ("hold-out, not subject-disjoint", "stratified, as in the paper"),
    "holdout_subject": (
        "subject-disjoint hold-out",
        "stratified as far as the subjects allow",
    ),
    "kfold": (
        "subject-disjoint {folds}-fold cross-validation",
        "stratified as far as the subjects allow",
    ),
    "loso": (
        "leave-one-subject-out, one fold for each subject",
        "subject-disjoint validation parts",
    ),
    "lodo": (
        "leave-one-data-set-out, one fold for each data set",
        "subject-disjoint validation parts of the other data sets",
    ),
    "cross_dataset": (
        "trained on {trained}, tested on {tested}",
        "subject-disjoint validation part of the former",
    ),
}


# Settings that are not listed as changed: those that reports and tables state anyway,
# one that table1 sets, and those without effect on the results.
_NOT_LISTED = {"protocol", "seed", "seeds", "precision", "whole_clips"} | (
    set(reader.NOT_RESULT_SETTINGS) - {"split", "classes", "init"}
)


def title(run: Run) -> str:
    """Returns recogniser, data set and protocol of a run in one line."""
    return f"{run.config.title} on {run.config.dataset}, protocol {run.config.protocol}"


def protocol_text(
    name: str,
    folds: int,
    split: str | None,
    datasets: Sequence[str],
    tested: Sequence[str],
) -> str:
    """Describes a protocol and how its parts were drawn.

    Args:
      name: the protocol.
      folds: number of folds.
      split: the file from which the split was read, if any.
      datasets: the data sets of the run.
      tested: those that are only tested, without configuration.
    """
    protocol, drawn = _PROTOCOLS[name]
    source = f"split read from {split}" if split else drawn
    trained = [d for d in datasets if d.partition("/")[0] not in tested]
    described = protocol.format(
        folds=folds, trained=" and ".join(trained), tested=" and ".join(tested)
    )
    return f"{described}; {source}"


def class_list(data: dict) -> str:
    """Lists the classes of ``data`` in ``config.json``, with their numbers of clips."""
    parts = []
    for name, counts in data["counts"].items():
        total = sum(counts.values())
        if list(counts) == [name]:
            parts.append(f"{name} ({total} clips)")
        else:
            of = ", ".join(f"{e} {n}" for e, n in counts.items() if n)
            parts.append(f"{name} ({total} clips: {of})")
    return ", ".join(parts)


def describe_recogniser(config: TrainConfig, data: dict) -> str:
    """Returns sentences that name the recogniser, its input and its settings.

    Args:
      config: of the run.
      data: the result of ``writer.describe_clips``.
    """
    text = (
        f"Recogniser: {config.recogniser.citation}. Input: "
        f"{inputs.find(config.input).title}. Preset: {config.preset}, "
    )
    changed = changed_settings(config)
    text += (
        f"of which these settings were changed: {'; '.join(changed)}."
        if changed
        else "with its defaults."
    )
    if data.get("first_as_onset"):
        text += (
            " There are records without an onset frame, so that the reference of each "
            "clip is its first frame."
        )
    return text


def describe_origin(origin: dict) -> str:
    """Describes the weights that a run started from, and which of them it trained.

    Args:
      origin: see ``origins.InitialWeights.description``.
    """
    trained_on = origin["trained_on"]
    counts = [
        f"unknown subjects of {dataset}"
        if names is None
        else f"{count(len(names), 'subject')} of {dataset}, none of whom is tested"
        for dataset, names in trained_on.items()
    ]
    text = (
        f"Every fold started from the weights of --init={origin['init']}. Their "
        f"origin: {origin['origin']}. They were trained on {'; '.join(counts)}."
    )
    drawn, frozen = origin["drawn"], origin["frozen"]
    if drawn:
        text += (
            f" The weights are for the classes {', '.join(origin['classes'])}, so "
            f"{', '.join(drawn)} {'was' if len(drawn) == 1 else 'were'} initialised "
            "from the seed."
        )
    if frozen:
        text += f" Not trained (--freeze): {', '.join(frozen)}."
    return text


def describe_devices(start: dict) -> str:
    """Describes the devices of a start, and how it computes convolutions.

    Args:
      start: the result of ``provenance.start``.
    """
    text = f"{len(start['devices'])} x {start['device_kind']}"
    if start.get("processes", 1) > 1:
        text += f" in each of {start['processes']} processes"
    if convolutions := start.get("convolutions"):  # older versions did not save it
        text += f", convolutions: {convolutions}"
    return text


def changed_settings(config: TrainConfig) -> list[str]:
    """Returns what differs from the defaults of the system with its preset."""
    return [
        f"{name} {_value(value)} "
        + (
            "(not set by default)"
            if default is None
            else f"instead of {_value(default)}"
        )
        for name, (value, default) in flags.changed_flags(config).items()
        if name not in _NOT_LISTED
    ]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "not set" if value is None else str(value)
