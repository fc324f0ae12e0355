"""Parses flag values: lists of seeds, data sets and NAME=VALUE, and parts of a run."""

from collections.abc import Sequence

from meranet_jax.errors import UserError


def parse_list(text: str) -> tuple[str, ...]:
    """Returns the items of a list, which are separated by commas."""
    return tuple(item.strip() for item in text.split(","))


def parse_seeds(seeds: str | None, seed: int) -> tuple[int, ...]:
    """Returns all seeds of ``--seeds``, or that of ``--seed``.

    Args:
      seeds: a number of seeds, ``5``, or a list of seeds, ``3,7,9``; None for one seed.
      seed: the only seed, or the first of a number of seeds.

    Raises:
      UserError: if ``seeds`` is neither, or both flags determine the first seed.
    """
    if seeds is None:
        return (seed,)
    try:
        parsed = tuple(int(text) for text in seeds.split(","))
        if len(parsed) == 1:
            parsed = tuple(range(seed, seed + parsed[0]))
        elif seed:
            raise UserError(f"--seed={seed} and --seeds={seeds}: set only one.")
    except ValueError:
        parsed = ()
    if not parsed or len(set(parsed)) < len(parsed) or not 0 <= min(parsed):
        raise UserError(
            f"--seeds={seeds} is neither a number of seeds, such as 5, nor a list of "
            "different seeds, such as 3,7,9."
        )
    if len(parsed) > 1000 or max(parsed) >= 2**32:
        raise UserError(f"--seeds={seeds}: set at most 1000 seeds, each below {2**32}.")
    return parsed


def parse_shard(text: str) -> tuple[int, int]:
    """Returns index, from 0, and number of parts of ``--fold_shard``, such as ``2/8``.

    Raises:
      UserError: if there is no such part.
    """
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UserError(f"--fold_shard={text} is not PART/PARTS, such as 2/8.")
    return int(part) - 1, int(parts)


def parse_tested_datasets(
    dataset: str,
    *,
    protocol: str,
    train_datasets: str | None,
    test_datasets: str | None,
) -> tuple[str, ...]:
    """Returns the data sets that a protocol tests only, without configuration.

    Args:
      dataset: the value of ``--dataset``.
      protocol: that of ``--protocol``. The result is empty unless it is
        ``cross_dataset``.
      train_datasets: that of ``--train_datasets``.
      test_datasets: that of ``--test_datasets``.

    Raises:
      UserError: if the flags do not divide the data sets into those to train on and
        those to test.
    """
    flags = {"train_datasets": train_datasets, "test_datasets": test_datasets}
    given = {
        flag: parse_list(value) for flag, value in flags.items() if value is not None
    }
    shown = " ".join(f"--{flag}={flags[flag]}" for flag in given)
    if protocol != "cross_dataset":
        if given:
            raise UserError(
                f"{shown} is for --protocol=cross_dataset, not for {protocol}. Set "
                "--protocol=cross_dataset, or leave it out."
            )
        return ()
    names = _names(parse_list(dataset))
    if not given:
        raise UserError(
            "--protocol=cross_dataset: say with --test_datasets which data sets of "
            f"--dataset={dataset} are tested. The others are trained on."
        )
    named = [name for value in given.values() for name in value]
    if unknown := [name for name in named if name not in names]:
        raise UserError(
            f"{shown}: {unknown[0]!r} is not one of the data sets of --dataset: "
            f"{', '.join(names)}."
        )
    if twice := [name for name in named if named.count(name) > 1]:
        raise UserError(f"{shown} has {twice[0]} twice. Name each data set once.")
    if len(given) == 2 and (unused := [n for n in names if n not in named]):
        raise UserError(
            f"{shown}: {unused[0]} is in neither. Leave it out of --dataset, or "
            "leave out one of the two flags, which then has the other data sets."
        )
    if "test_datasets" in given:
        tested = [name for name in names if name in given["test_datasets"]]
    else:
        tested = [name for name in names if name not in given["train_datasets"]]
    if not tested or len(tested) == len(names):
        raise UserError(
            f"{shown}: all data sets of --dataset={dataset} are "
            f"{'tested' if tested else 'trained on'}. Name a part of them."
        )
    return tuple(tested)


def value_of_dataset(
    given: str | tuple[str, ...] | None,
    dataset: str,
    datasets: Sequence[str],
    *,
    flag: str,
    default: str | tuple[str, ...] | None,
) -> str | tuple[str, ...] | None:
    """Returns the value for a data set in a NAME=VALUE list.

    Args:
      given: the value of the flag, a list for all data sets or the default.
      dataset: name of the data set, with or without a configuration.
      datasets: names of all data sets.
      flag: name of the flag.
      default: value for data sets that the list does not name. If it is a tuple, a
        name may be given several times.

    Raises:
      UserError: if ``given`` is no such list, or names another data set.
    """
    if given is None or given == default:
        return default
    text = given if isinstance(given, str) else ",".join(given)
    pairs = [part.partition("=")[::2] for part in text.split(",")]
    values = dict(pairs)
    names = _names(datasets)
    if not all(values.values()) or not set(values) <= set(names):
        value = "..." if "=" in text or "," in text else text
        listed = ",".join(f"{name}={value}" for name in names)
        without = f"A data set without a value has {default or 'its own default'}."
        if flag == "manual_dir":
            without = (
                "The same folder may be named for each if it has all copies. A data "
                "set without a folder needs records that exist."
            )
        raise UserError(
            f"--{flag}={text}: with several data sets, set a value for each, "
            f"--{flag}={listed}. {without}"
        )
    (name,) = _names([dataset])
    if isinstance(default, tuple):
        return tuple(value for key, value in pairs if key == name) or default
    return values.get(name, default)


def _names(datasets: Sequence[str]) -> list[str]:
    """Returns the names of data sets without their configurations."""
    return [dataset.partition("/")[0] for dataset in datasets]
