"""The command line of reproduce.py: an experiment, and the settings of its runs."""

import dataclasses
import difflib
import typing
from collections.abc import Callable, Collection, Mapping, Sequence

import tyro

from meranet_jax import flags, recipes
from meranet_jax.analysis import experiments, table1
from meranet_jax.analysis.experiments import Experiment, Key
from meranet_jax.config import Protocol, TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.runs import origins

# Flags of train.py that an experiment sets itself.
_FIXED = (
    "model",  # first: another recogniser has other flags
    "name",
    "overwrite",
    "fold_shard",
    "compile_ahead",
    "coordinator",
    "num_processes",
    "process_id",
    "attentions",
    "split",
)

# What each experiment varies.
_VARIED = {
    "table1": ("protocol",),
    "figure4": ("shared",),
    "figure5": ("kernel_size",),
    "inputs": ("input",),
    "learning_curve": ("train_subjects", "train_clips"),
}

# Experiments whose runs can start from weights. In the others, most variants have
# another network or another input than the weights.
_FROM_WEIGHTS = ("ablation", "learning_curve")

# Protocols that need several data sets in one run, and those that do not
_OF_SEVERAL_DATASETS = ("lodo", "cross_dataset")
_PROTOCOLS = tuple(
    name for name in typing.get_args(Protocol) if name not in _OF_SEVERAL_DATASETS
)

# Number of seeds unless the flags say otherwise.
_SEEDS = "5"

# Otherwise --help would offer None as a value.
_DISALLOW_NONE = (tyro.conf.DisallowNone,)


@dataclasses.dataclass(frozen=True)
class Request:
    """Flags of reproduce.py, in addition to those of train.py."""

    dataset: str = TrainConfig.dataset
    """Data sets, separated by commas. Each is used separately."""
    protocols: tuple[str, ...] = ("holdout", "loso")
    """Protocols of table1. Default: the paper's and leave-one-subject-out."""
    systems: tuple[str, ...] = tuple(table1.SYSTEMS)
    """Systems of table1, separated by spaces: names of --model."""
    loso_seeds: int | None = None
    """Number of seeds of table1 under leave-one-subject-out. Default: those of --seeds
    if it is given, otherwise one."""
    results_dir: str = "results"
    """Folder of tables and figures, with a folder for each experiment."""
    missing: bool = False
    """Only print the commands of the missing runs, for a cluster."""


def parse(
    arguments: Sequence[str],
    *,
    description: str = "",
    check_dataset: Callable[[str], object] = lambda name: None,
) -> tuple[Experiment, Request, dict[Key, TrainConfig], list[TrainConfig]]:
    """Parses a command line.

    Args:
      arguments: the experiment's name, then flags.
      description: the first lines of ``--help``.
      check_dataset: see ``flags.parse``.

    Returns:
      The experiment, the flags of reproduce.py, the configurations of the runs that it
      needs, and the settings for each data set.

    Raises:
      UserError: if there is no such experiment, or a flag cannot be used with it.
    """
    known = typing.get_args(Experiment)
    if not arguments or arguments[0] in ("-h", "--help"):
        tyro.cli(
            Request,
            args=["--help"],
            description=description,
            use_underscores=True,
            config=_DISALLOW_NONE,
        )
    experiment, *rest = arguments
    if experiment not in known:
        raise UserError(
            f"There is no experiment {experiment}. Choose one of {', '.join(known)}, "
            "or spotting, which has flags of its own."
        )
    request, others = tyro.cli(
        Request,
        args=rest,
        return_unknown_args=True,
        use_underscores=True,
        prog=experiment,
        config=_DISALLOW_NONE,
    )
    given = _names(rest)
    for name in ("systems", "protocols", "loso_seeds"):
        if name in given and experiment != "table1":
            raise UserError(f"--{name} is for table1 only. Leave it out.")
    _check_names("systems", request.systems, tuple(table1.SYSTEMS))
    for name in request.protocols:
        _check_protocol(f"--protocols {name}", name)
    _check_names("protocols", request.protocols, _PROTOCOLS)
    own: dict[str, list[str]] = {}
    if experiment == "table1":
        others, own = _split_flags(others, request.systems)
    loso_seeds = request.loso_seeds
    if loso_seeds is None and "seeds" not in given:
        loso_seeds = 1
    if loso_seeds is not None and loso_seeds < 1:
        raise UserError(f"--loso_seeds={loso_seeds} must be at least 1.")
    fixed = (*_FIXED, *_VARIED.get(experiment, ()))
    bases = []
    for dataset in request.dataset.split(","):
        check_dataset(dataset.strip())
        bases.append(
            _base(dataset.strip(), others, fixed, weights=experiment in _FROM_WEIGHTS)
        )
    for base in bases:
        _check_protocol(f"--protocol={base.protocol}", base.protocol)
    if experiment == "parameters" and len(bases) > 1:
        raise UserError("parameters needs exactly one data set. Name one --dataset.")
    bases = _set_each(bases, others)
    if experiment == "learning_curve" and bases[0].protocol == "holdout":
        raise UserError(
            "learning_curve with --protocol=holdout: its test parts have the subjects "
            "of the training, so that their number says nothing. Choose "
            "--protocol=loso, kfold or holdout_subject."
        )
    needed = experiments.plan(
        experiment,
        bases,
        request.protocols,
        loso_seeds,
        request.systems,
        given,
        own,
    )
    return experiment, request, needed, bases


def _check_names(flag: str, names: Sequence[str], valid: Sequence[str]) -> None:
    """Raises UserError unless names are some of those that are valid, each once."""
    advice = f"Name some of {', '.join(valid)}, separated by spaces."
    if not any(names):
        raise UserError(f"--{flag} names none. {advice}")
    for name in names:
        if "," in name:
            parts = " ".join(part.strip() for part in name.split(","))
            raise UserError(
                f"--{flag} {name}: separate the names by spaces: --{flag} {parts}"
            )
        if name not in valid:
            raise UserError(f"--{flag} {name}: there is no {name}. {advice}")
        if names.count(name) > 1:
            raise UserError(f"--{flag} names {name} twice. {advice}")


def _check_protocol(flag: str, protocol: str) -> None:
    """Raises UserError if a protocol needs several data sets in a run."""
    if protocol in _OF_SEVERAL_DATASETS:
        raise UserError(
            f"{flag}: this protocol needs several data sets in one run, and "
            "reproduce.py uses each data set separately. Choose some of "
            f"{', '.join(_PROTOCOLS)}, or run python train.py --protocol={protocol}."
        )


def _split_flags(
    arguments: Sequence[str], systems: Sequence[str]
) -> tuple[list[str], dict[str, list[str]]]:
    """Separates the flags that MERANet does not have, but some systems of table1 have.

    Args:
      arguments: flags of train.py with their values.
      systems: the systems of the table.

    Returns:
      The other arguments, and those that MERANet does not have by the system that has
      them.

    Raises:
      UserError: if only recognisers that are not in the table have a flag.
    """
    common: list[str] = []
    own: dict[str, list[str]] = {}
    having = {name: set(flags.flag_types(name)) for name in systems}
    of_meranet = set(flags.flag_types("meranet"))
    targets = [common]  # the lists that the values after a flag are added to
    for argument in arguments:
        if argument.startswith("--"):
            names = _names([argument])
            found = (
                [] if names & of_meranet else [n for n in systems if names & having[n]]
            )
            targets = [own.setdefault(name, []) for name in found] or [common]
            if not found and not names & of_meranet:
                _check_unknown(argument.partition("=")[0], names, systems, having)
        for target in targets:
            target.append(argument)
    return common, own


def _check_unknown(
    flag: str,
    names: Collection[str],
    systems: Sequence[str],
    having: Mapping[str, Collection[str]],
) -> None:
    """Raises UserError if a flag is similar to one of a system, or one of another.

    Args:
      flag: the flag, which neither MERANet nor a system of the table has.
      names: the names that it may stand for.
      systems: the systems of the table.
      having: the names of the flags of each of ``systems``.
    """
    others = [
        name
        for name in table1.SYSTEMS
        if name not in systems and not names.isdisjoint(flags.flag_types(name))
    ]
    if others:
        raise UserError(
            f"{flag} is a flag of {', '.join(others)}, and --systems names "
            f"{', '.join(systems)}. Leave it out, or choose other --systems."
        )
    for name in systems:
        valid = [f"--{one}" for one in having[name]]
        if nearest := difflib.get_close_matches(flag, valid, n=1, cutoff=0.8):
            raise UserError(
                f"No system has the flag {flag}. Did you mean {nearest[0]} of {name}? "
                f"python train.py --model={name} --help lists its flags."
            )


def _names(arguments: Sequence[str]) -> set[str]:
    """Returns the names of the flags in arguments; that of --no-flip is flip."""
    flags_given = (a.partition("=")[0] for a in arguments if a.startswith("--"))
    names = {flag.removeprefix("--").replace("-", "_") for flag in flags_given}
    return names | {name.removeprefix("no_") for name in names}


def _base(
    dataset: str, others: list[str], fixed: Sequence[str], *, weights: bool
) -> TrainConfig:
    """Returns the settings of the runs of a data set.

    Args:
      dataset: its name.
      others: flags of train.py.
      fixed: names of the flags that must not be given.
      weights: whether ``--init`` may be given.

    Raises:
      UserError: if a flag of ``fixed`` is given.
    """
    find_weights = origins.find if weights else None
    base = flags.parse([f"--dataset={dataset}", *others], find_weights=find_weights)
    same = [f"--dataset={dataset}", f"--preset={base.preset}"]
    same += [] if base.init is None else [f"--init={base.init}"]
    default = flags.parse(same, find_weights=find_weights).flags()
    for name in fixed:
        if base.flags().get(name) != default.get(name):
            raise UserError(f"--{name}: reproduce.py sets this flag. Leave it out.")
    one_seed = any(flag.partition("=")[0] == "--seed" for flag in others)
    if base.seeds is None and not one_seed:
        base = base.change(seeds=_SEEDS)
    return base


def _set_each(bases: list[TrainConfig], others: list[str]) -> list[TrainConfig]:
    """Sets the values of NAME=VALUE lists for each of several data sets.

    Raises:
      UserError: if a flag that differs between data sets has a single value.
    """
    first = {base.dataset.partition("/")[0]: base.dataset for base in reversed(bases)}
    if len(first) == 1:
        return bases
    composite = flags.parse([f"--dataset={','.join(first.values())}", *others])
    alone = dict(zip(first, composite.each_dataset(), strict=True))
    return [
        base.change(
            **{
                name: getattr(alone[base.dataset.partition("/")[0]], name)
                for name in recipes.LISTED
            },
        )
        for base in bases
    ]
