"""Prepares the records of a data set: ``python -m datasets.prepare NAME``.

TFDS writes to a temporary folder and renames it once all records are written, so that
an interrupted run never leaves records that look complete.
"""

import contextlib
import dataclasses
import difflib
import importlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from meranet_jax import program
from meranet_jax.errors import DataError

with program.imports(__name__):
    import filelock
    import tensorflow_datasets as tfds
    import tyro
    from absl import logging

    from datasets import existing
    from datasets.builder import LocalCopyBuilder
    from datasets.clip_record import ClipConfig, Sampling
    from datasets.parallel import check_workers
    from datasets.source.specification import Apex, Crop, Sizes, Specification

# Data sets with a builder where TFDS expects it: NAME/NAME_dataset_builder.py.
NAMES = tuple(
    sorted(
        path.parent.name
        for path in Path(__file__).parent.glob("*/*_dataset_builder.py")
        if path.name == f"{path.parent.name}_dataset_builder.py"
    )
)


@dataclasses.dataclass(frozen=True)
class Options:
    """How clips are made; None, or no table, selects the default of the data set."""

    sampling: Sampling | None = None
    """How frames are selected.
    apex: evenly spaced in a window around the apex, as in the paper.
    uniform: evenly spaced from onset to offset.
    tim: interpolated from onset to offset (temporal interpolation model)."""
    frames: int | None = None
    """Number of frames in a clip."""
    window: int | None = None
    """Length in frames of the window around the apex (for --sampling=apex)."""
    rate: float | None = None
    """Frame rate in Hz to which recordings are resampled (for --sampling=apex), so that
    a window covers the same time in every data set. Default: that of each recording."""
    size: int | None = None
    """Height and width of a clip in pixels."""
    crop: Crop | None = None
    """Source of the face crops.
    provided: the data set's own cropped release.
    detect: faces are detected in a raw release.
    none: full frames.
    auto: provided if the copy has a cropped release, otherwise detect."""
    margin: float | None = None
    """Margin on each side of a detected face, relative to its longer side."""
    release: str | None = None
    """Name of the release to read; datasets/NAME/README.md lists them."""
    table: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """File name of the annotation table to read, or its path in the folder of the copy.
    It may be given several times, for example for the two sections of CASME."""
    sizes: Sizes | None = None
    """Clips whose frames differ in size.
    same: they are left out.
    any: each frame is resized by itself, which adds motion that is not in the face."""
    apex: Apex | None = None
    """What replaces an apex that is not given in a table.
    middle: the middle of onset and offset.
    spotted: the frame that has moved most since the onset.
    table: nothing; such expressions are left out."""
    expressions: str | None = None
    """Expressions to include, for cas_me_2 only: micro, macro or both."""
    camera: str | None = None
    """Camera of the recordings, for smic only: HS, VIS or NIR."""

    def overrides(self) -> dict[str, object]:
        """Returns the options that are set."""
        fields = dataclasses.asdict(self)
        return {n: value for n, value in fields.items() if value not in (None, ())}


def builder(
    name: str,
    data_dir: str | os.PathLike | None = None,
    options: Options = Options(),  # noqa: B008 (it is frozen)
) -> tfds.core.DatasetBuilder:
    """Returns the TFDS builder of a data set.

    Args:
      name: name of a data set, or ``name/config``.
      data_dir: folder of the records; TFDS's default is ``~/tensorflow_datasets``.
      options: changes to the configuration. A changed configuration has its own name
        and therefore its own folder, so records never replace others.

    Raises:
      DataError: if the data set or the configuration does not exist, or an option does
        not exist for it or is out of range.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # TFDS warns of each changed configuration
    try:
        return builder_class(name)(
            config=configuration(name, options),
            data_dir=None if data_dir is None else os.path.expanduser(data_dir),
            file_format="array_record",
        )
    finally:
        logging.set_verbosity(verbosity)


def builder_class(name: str) -> type[tfds.core.DatasetBuilder]:
    """Returns the builder class of ``name`` or ``name/config``.

    Raises:
      DataError: if the data set does not exist.
    """
    dataset = name.partition("/")[0]
    if dataset not in NAMES:
        raise DataError(_unknown("data set", dataset, NAMES))
    module = importlib.import_module(f"datasets.{dataset}.{dataset}_dataset_builder")
    return module.Builder


def other_specifications(name: str) -> list[Specification]:
    """Returns the specifications of all licensed data sets but that of ``name``."""
    found = []
    for other in NAMES:
        # A user's unfinished builder must not stop another data set.
        with contextlib.suppress(Exception):
            cls = builder_class(other)
            if other != name.partition("/")[0] and issubclass(cls, LocalCopyBuilder):
                found.append(cls.SPECIFICATION)
    return found


def configuration(name: str, options: Options) -> ClipConfig:
    """Returns the configuration of ``name`` or ``name/config``, changed by ``options``.

    Raises:
      DataError: if the data set or the configuration does not exist, or an option does
        not exist for it or is out of range.
    """
    configs = builder_class(name).builder_configs
    dataset, _, config = name.partition("/")
    if not all(isinstance(one, ClipConfig) for one in configs.values()) or not configs:
        raise DataError(
            f"The BUILDER_CONFIGS of {dataset} must be non-empty and of type "
            "datasets.clip_record.ClipConfig."
        )
    if config and config not in configs:
        raise DataError(_unknown(f"configuration of {dataset}", config, configs))
    base = configs[config or next(iter(configs))]
    fields = {field.name for field in dataclasses.fields(base)}
    overrides = options.overrides()
    for option in overrides:
        if option not in fields:
            valid = [f.name for f in dataclasses.fields(Options) if f.name in fields]
            remedy = f"Leave out --{option}."
            if option in ("crop", "margin"):
                remedy += " To test a run with it, add --crop=default to eval.py."
            raise DataError(
                f"{dataset} has no --{option}; it has --{', --'.join(valid)}. {remedy}"
            )
    if all(getattr(base, option) == value for option, value in overrides.items()):
        return base
    changed = dataclasses.replace(base, **overrides)
    changed.name = changed.full_name()
    changed.description = f"{base.name}, changed: {overrides}"
    return changed


def prepare(
    name: str,
    *,
    manual_dir: str | os.PathLike | None = None,
    data_dir: str | os.PathLike | None = None,
    options: Options = Options(),  # noqa: B008
    workers: int | None = None,
) -> Path:
    """Writes the records of a data set unless they exist, and prints a summary.

    Args:
      name: name of a data set, or ``name/config``.
      manual_dir: folder of the user's licensed copy; not needed if the records exist.
      data_dir: folder of the records; TFDS's default is ``~/tensorflow_datasets``.
      options: changes to the configuration.
      workers: number of threads that read or render clips; None uses one per core.

    Returns:
      The folder of the records.

    Raises:
      DataError: if the name or an option is invalid, or the copy cannot be read.
      OSError: if the records cannot be written.
    """
    check_workers(workers)
    dataset = builder(name, data_dir, options)
    folder = Path(dataset.data_dir)
    if existing.is_prepared(folder):
        if manual_dir is not None:
            _warn_of_other_copy(dataset, folder, Path(manual_dir).expanduser())
        return folder
    if dataset.MANUAL_DOWNLOAD_INSTRUCTIONS:
        earlier = existing.earlier_records(folder)
        if manual_dir is None and earlier:
            raise DataError(
                f"The records in {earlier[0]} were written by an earlier version. To "
                f"prepare them again, give your copy of {name} with --manual_dir=DIR."
            )
        check_manual_dir(name, manual_dir)
    if hasattr(dataset, "workers"):
        dataset.workers = workers
    if isinstance(dataset, LocalCopyBuilder):
        # Before any folder is created: an unreadable copy must leave nothing behind.
        dataset.local_copy = dataset.open_local_copy(
            Path(manual_dir).expanduser(), other_specifications(name)
        )
        if options.apex in (None, "table"):  # estimates are not asked for
            dataset.local_copy.check_apexes()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        if existing.is_prepared(folder):  # by the process that held the lock
            return folder
        for leftover in folder.parent.glob(f"incomplete.*_{folder.name}"):
            shutil.rmtree(leftover)  # of a process that was killed
        _write(dataset, manual_dir)
    print(existing.describe(dataset.info), file=sys.stderr)
    return folder


def records_of(config) -> Path:
    """Writes the records that a run needs unless they exist.

    Records of an earlier minor version of the data set are used, with a line that says
    so, if they have all features that the run needs and there is no copy to prepare
    them again.

    Args:
      config: has ``dataset``, ``manual_dir``, ``data_dir`` and ``record_options()``,
        the values of ``Options`` by name, as a run's configuration of one data set has.
        It may have ``record_features()``, which returns the names of the features that
        it uses; without it, those of the first version are enough. It may also have
        ``required_features()``, those of them that current records must have; without
        it, all.

    Returns:
      The folder of the records.

    Raises:
      DataError: if the data set is unknown, the copy cannot be read, or existing
        records of the current version do not have a feature that is needed.
      OSError: if the records cannot be written.
    """
    options = Options(**config.record_options())
    used = config.record_features() if hasattr(config, "record_features") else ()
    required = used
    if hasattr(config, "required_features"):
        required = config.required_features()
    dataset = builder(config.dataset, config.data_dir, options)
    folder = Path(dataset.data_dir)
    copy = config.manual_dir
    has_copy = copy is not None and Path(copy).expanduser().is_dir()
    if not existing.is_prepared(folder) and not has_copy:
        for earlier in existing.earlier_records(folder):
            if not existing.missing_features(earlier, used):
                print(existing.describe_earlier(dataset, earlier), file=sys.stderr)
                return earlier
    folder = prepare(
        config.dataset,
        manual_dir=config.manual_dir,
        data_dir=config.data_dir,
        options=options,
    )
    if missing := existing.missing_features(folder, required):
        raise DataError(
            f"The records in {folder} do not contain {', '.join(missing)}. Delete that "
            "folder and prepare them again; the builder must write all features of "
            "datasets.clip_record.record_features."
        )
    return folder


@contextlib.contextmanager
def _lock(folder: Path):
    """Lets one process at a time prepare the same records; others wait for it."""
    # The folder is <data_dir>/<name>/<configuration>/<version>; the lock file is next
    # to the folder of the configuration.
    lock = filelock.FileLock(folder.parent.with_name(f".{folder.parent.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"Another process is preparing {folder}; waiting.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write(dataset: tfds.core.DatasetBuilder, manual_dir) -> None:
    tfds.disable_progress_bar()  # builders show their own, with the remaining time
    download_config = tfds.download.DownloadConfig(
        manual_dir=manual_dir and os.path.expanduser(manual_dir),
    )
    try:
        with contextlib.redirect_stdout(None):  # TFDS prints sizes that it cannot know
            dataset.download_and_prepare(
                file_format="array_record", download_config=download_config
            )
    except RuntimeError as error:
        # array_record reports a full disk with this message.
        if "write()" not in str(error):
            raise
        raise DataError(
            f"The records cannot be written: {error}.\nNo records were kept. Free some "
            "space, or choose another folder with --data_dir=DIR."
        ) from error


def _warn_of_other_copy(
    dataset: tfds.core.DatasetBuilder, folder: Path, manual_dir: Path
) -> bool:
    """Prints a warning if the records were not prepared from this copy.

    Returns:
      Whether they were not.
    """
    if not isinstance(dataset, LocalCopyBuilder):
        return False
    try:
        others = other_specifications(dataset.name)
        fingerprint = dataset.open_local_copy(manual_dir, others).fingerprint()
    except (DataError, OSError) as error:
        why = f"that copy cannot be read ({str(error).splitlines()[0]})"
    else:
        recorded = tfds.builder_from_directory(folder).info.metadata
        if fingerprint == recorded.get("fingerprint"):
            return False
        why = "its table, clips or frames differ"
    print(
        f"warning: the records in {folder} do not match the copy in {manual_dir}: "
        f"{why}. The existing records are used; to prepare them again, delete that "
        "folder first.",
        file=sys.stderr,
    )
    return True


def _unknown(kind: str, given: str, valid) -> str:
    nearest = difflib.get_close_matches(given, valid, n=1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"There is no {kind} named {given!r}.{hint} Valid names: {', '.join(valid)}."


def check_manual_dir(
    name: str,
    manual_dir: str | os.PathLike | None,
    instructions: str | None = None,
) -> None:
    """Checks that the folder of a licensed copy exists and is not empty.

    Args:
      name: name of the data set, or ``name/config``.
      manual_dir: the folder.
      instructions: how to obtain the data set; None takes those of its builder.

    Raises:
      DataError: if it does not; the message explains how to obtain the data set.
    """
    if manual_dir is None:
        problem = f"{name} is read from your own copy: give it with --manual_dir=DIR."
    elif not Path(manual_dir).expanduser().is_dir():
        problem = f"--manual_dir={manual_dir} is not a folder."
    elif not any(Path(manual_dir).expanduser().iterdir()):
        problem = f"--manual_dir={manual_dir} is empty."
    else:
        return
    if instructions is None:
        instructions = builder_class(name).MANUAL_DOWNLOAD_INSTRUCTIONS
    raise DataError(f"{problem}\n{instructions.strip()}")


def main(
    name: tyro.conf.Positional[str],
    /,
    manual_dir: str | None = None,
    data_dir: str | None = None,
    workers: int | None = None,
    clip: tyro.conf.OmitArgPrefixes[Options] = Options(),  # noqa: B008
) -> int:
    """Write the records of a data set, and print what was found and left out.

    The exit code is 0 only if the records are those of the copy, no table is missing
    and every row has become a record. Otherwise it is 1; the records that were written
    can be used.

    Args:
      name: synthetic, casme, casme2, cas_me_2, casme3, casme3_c, samm, smic, mmew,
        fourdme or your own data set, optionally with a configuration: synthetic/hard.
      manual_dir: folder of your licensed copy.
      data_dir: folder of the records (default: ~/tensorflow_datasets).
      workers: number of threads that read or render clips (default: one per core).
      clip: how clips are made; the defaults are those of the data set.
    """
    dataset = builder(name, data_dir, clip)
    folder = Path(dataset.data_dir)
    of_other_copy = False
    if existing.is_prepared(folder):
        if manual_dir is not None:
            copy = Path(manual_dir).expanduser()
            of_other_copy = _warn_of_other_copy(dataset, folder, copy)
        print("The records exist already, with these notes:", file=sys.stderr)
        print(
            existing.describe(tfds.builder_from_directory(folder).info), file=sys.stderr
        )
    else:
        prepare(
            name,
            manual_dir=manual_dir,
            data_dir=data_dir,
            options=clip,
            workers=workers,
        )
    losses = existing.describe_losses(tfds.builder_from_directory(folder).info)
    if losses:
        print(
            f"warning: {losses}; the exit code is 1, and the records can be used.",
            file=sys.stderr,
        )
    return 1 if losses or of_other_copy else 0


def run_main(main: Callable[..., int], prog: str) -> int:
    """Runs a program with the command line's flags and returns its exit code.

    A flag that is left out has its default; ``None`` is no value of a flag.

    Args:
      main: the program.
      prog: how it is started, for ``--help``.
    """
    config = (tyro.conf.DisallowNone,)
    return tyro.cli(main, prog=prog, use_underscores=True, config=config)


if __name__ == "__main__":
    with program.run("no records were kept"):
        sys.exit(run_main(main, "python -m datasets.prepare"))
