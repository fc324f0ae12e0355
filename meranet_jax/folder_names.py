"""Names of run folders."""

from collections.abc import Sequence
from pathlib import Path

from meranet_jax.errors import UserError


def run_name(
    *,
    dataset: str,
    model: str,
    preset: str,
    network_input: str | None,
    init: str | None,
    protocol: str,
    tested_datasets: Sequence[str],
    seeds: Sequence[int],
) -> str:
    """Returns the default name of the folder of a run, without that of its shard.

    Args:
      dataset: the value of ``--dataset``.
      model: name of the recogniser, with its variant.
      preset: the value of ``--preset``.
      network_input: the value of ``--input``; None for the default of the recogniser.
      init: the value of ``--init``; None for a start from random weights.
      protocol: the value of ``--protocol``.
      tested_datasets: the data sets that are only tested.
      seeds: all seeds.
    """
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        seeds = seeds if len(seeds) < 3 else (seeds[0], seeds[-1])
    parts = [folder_name(dataset), model, preset]
    if init is not None:  # the weights determine the input
        parts.append(f"init-{_stem(init)}")
    elif network_input is not None:
        parts.append(network_input)
    if protocol != "holdout":
        parts.append(protocol)
    if tested_datasets:
        parts.append(f"test-{'+'.join(tested_datasets)}")
    parts.append(f"seed{'-'.join(map(str, seeds[:3]))}")
    return "-".join(parts)


def _stem(init: str) -> str:
    """Returns the value of ``--init`` as a part of the name of a folder."""
    parts = Path(init).expanduser().absolute().parts
    # A fold is named after its run: RUN/folds/FOLD
    name = "-".join(parts[-3::2]) if parts[-2:-1] == ("folds",) else parts[-1]
    return name.removesuffix(".npz")


def folder_name(dataset: str) -> str:
    """Returns the value of ``--dataset`` as a part of the name of a folder."""
    return dataset.replace("/", "-").replace(",", "+").replace(" ", "")


def check_name(name: str) -> None:
    """Raises UserError unless ``name`` is a valid name of a run folder."""
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise UserError(f"--name={name!r} must be a folder name without separators.")
