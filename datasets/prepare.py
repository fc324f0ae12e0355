"""Write a data set's records: ``python -m datasets.prepare NAME [--manual_dir=DIR]``.

The work is TFDS's: shards are written to a folder beside the final one and moved
there when all is written, so that an interrupted run leaves nothing that a later one
takes for whole.
"""

import contextlib
import dataclasses
import difflib
import importlib
import os
import shutil
import sys
from pathlib import Path

import filelock
import tensorflow_datasets as tfds
import tyro
from absl import logging

from datasets.builder import CopyBuilder
from datasets.clip_record import ClipConfig, Sampling
from datasets.parallel import check_workers
from datasets.source.specification import Crop
from meranet_jax.errors import DataError

# Those that have a builder where TFDS expects it: NAME/NAME_dataset_builder.py.
NAMES = tuple(
    sorted(
        path.parent.name
        for path in Path(__file__).parent.glob("*/*_dataset_builder.py")
        if path.name == f"{path.parent.name}_dataset_builder.py"
    )
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What a clip is; each is the data set's own unless given."""

    sampling: Sampling | None = None
    """apex: a window around the apex. uniform: evenly from onset to offset. tim: as
    many, interpolated (temporal interpolation model)."""
    frames: int | None = None
    """Frames of a clip."""
    window: int | None = None
    """Frames around the apex that they are drawn from."""
    size: int | None = None
    """Height and width of a clip in pixels."""
    crop: Crop | None = None
    """provided: the data set's own cropped release. detect: find faces in a raw one.
    none: whole frames. auto: provided if the copy allows it, else detect."""
    margin: float | None = None
    """Added around a detected face on each side, as a share of it."""
    release: str | None = None
    """The release to read, as datasets/NAME/README.md names it."""
    table: str | None = None
    """File name of the table to read."""
    expressions: str | None = None
    """cas_me_2 alone: micro, macro or both."""

    def given(self) -> dict[str, object]:
        """Those that are not left to the data set."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if value is not None}


def builder(
    name: str,
    data_dir: str | os.PathLike | None = None,
    options: Options = Options(),  # noqa: B008 (it is frozen)
) -> tfds.core.DatasetBuilder:
    """The builder of ``name`` or ``name/config``, as ``options`` change it.

    A changed configuration has its own name and with it its own folder, so that no
    records replace others.

    Raises:
      DataError: if there is no such data set, configuration or option, or its value is
        none.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # else it warns of each configuration changed
    try:
        return builder_class(name)(
            config=configuration(name, options),
            data_dir=None if data_dir is None else os.path.expanduser(data_dir),
            file_format="array_record",
        )
    finally:
        logging.set_verbosity(verbosity)


def builder_class(name: str) -> type[tfds.core.DatasetBuilder]:
    """The class of ``name`` or ``name/config``.

    Raises:
      DataError: if there is no such data set.
    """
    dataset = name.partition("/")[0]
    if dataset not in NAMES:
        raise DataError(_unknown("data set", dataset, NAMES))
    module = importlib.import_module(f"datasets.{dataset}.{dataset}_dataset_builder")
    return module.Builder


def configuration(name: str, options: Options) -> ClipConfig:
    """The configuration of ``name`` or ``name/config``, as ``options`` change it.

    Raises:
      DataError: if there is no such data set, configuration or option, or its value is
        none.
    """
    configs = builder_class(name).builder_configs
    dataset, _, config = name.partition("/")
    if not all(isinstance(one, ClipConfig) for one in configs.values()) or not configs:
        raise DataError(
            f"The builder of {dataset} needs BUILDER_CONFIGS of "
            "datasets.clip_record.ClipConfig: they say what a clip of its records is."
        )
    if config and config not in configs:
        raise DataError(_unknown(f"configuration of {dataset}", config, configs))
    chosen = configs[config or next(iter(configs))]
    fields = {field.name for field in dataclasses.fields(chosen)}
    given = options.given()
    for option in given:
        if option not in fields:
            valid = [f.name for f in dataclasses.fields(Options) if f.name in fields]
            raise DataError(
                f"{dataset} has no --{option}; it has --{', --'.join(valid)}."
            )
    if all(getattr(chosen, option) == value for option, value in given.items()):
        return chosen
    changed = dataclasses.replace(chosen, **given)
    changed.name = changed.full_name()
    changed.description = f"{chosen.name}, changed: {given}"
    return changed


def prepare(
    name: str,
    *,
    manual_dir: str | os.PathLike | None = None,
    data_dir: str | os.PathLike | None = None,
    options: Options = Options(),  # noqa: B008
    workers: int | None = None,
) -> Path:
    """Write the records of ``name`` unless they are there, and say what was found.

    Args:
      name: a data set, with its configuration after a slash if not the default one.
      manual_dir: where the user's licensed copy lies; needed to write, not to read.
      data_dir: where records go; TFDS's default is ``~/tensorflow_datasets``.
      options: what a clip is, where not as the configuration says.
      workers: threads that read a licensed copy; one a core unless given.

    Returns:
      The folder of the records.

    Raises:
      DataError: if the name is unknown or the copy cannot be read.
      OSError: if the records cannot be written.
    """
    check_workers(workers)
    dataset = builder(name, data_dir, options)
    folder = Path(dataset.data_dir)
    if is_prepared(folder):
        if manual_dir is not None:
            _say_whether_the_same(dataset, folder, Path(manual_dir).expanduser())
        return folder
    if dataset.MANUAL_DOWNLOAD_INSTRUCTIONS:
        check_manual_dir(name, manual_dir)
    if isinstance(dataset, CopyBuilder):
        dataset.workers = workers
        # Before anything is made: what cannot be read leaves nothing behind.
        dataset.copy = dataset.open(Path(manual_dir).expanduser())
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if is_prepared(folder):  # by the one that was waited for
            return folder
        for left in folder.parent.glob(f"incomplete.*_{folder.name}"):
            shutil.rmtree(left)  # by one that was killed
        _write(dataset, manual_dir)
    print(describe(dataset.info), file=sys.stderr)
    return folder


def records_of(config) -> Path:
    """Writes the records that a run needs unless they exist.

    Args:
      config: has ``dataset``, ``manual_dir``, ``data_dir`` and ``record_options()``,
        the values of ``Options`` by name, as a run's configuration of one data set has.

    Returns:
      The folder of the records.

    Raises:
      DataError: if the data set is unknown or the copy cannot be read.
      OSError: if the records cannot be written.
    """
    return prepare(
        config.dataset,
        manual_dir=config.manual_dir,
        data_dir=config.data_dir,
        options=Options(**config.record_options()),
    )


def is_prepared(folder: Path) -> bool:
    """Whether there are whole records; TFDS moves them there when they are."""
    return (folder / "dataset_info.json").is_file()


@contextlib.contextmanager
def _alone(folder: Path):
    """Only one process at a time prepares the same records; others wait for it."""
    # <data_dir>/<name>/<configuration>/<version>; beside the configuration's.
    lock = filelock.FileLock(folder.parent.with_name(f".{folder.parent.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"Another process prepares {folder}; waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write(dataset: tfds.core.DatasetBuilder, manual_dir) -> None:
    tfds.disable_progress_bar()  # builders show their own, with the time left
    download_config = tfds.download.DownloadConfig(
        manual_dir=manual_dir and os.path.expanduser(manual_dir),
    )
    try:
        with contextlib.redirect_stdout(None):  # TFDS's sizes, which it does not know
            dataset.download_and_prepare(
                file_format="array_record", download_config=download_config
            )
    except RuntimeError as error:
        # So array_record reports a full disk.
        if "write()" not in str(error):
            raise
        raise DataError(
            f"The records cannot be written: {error}.\nNothing of them was kept. Free "
            "some space, or choose another place with --data_dir=DIR."
        ) from error


def _say_whether_the_same(
    dataset: tfds.core.DatasetBuilder, folder: Path, manual_dir: Path
) -> None:
    """A notice if the records are not of this copy."""
    if not isinstance(dataset, CopyBuilder):
        return
    try:
        found = dataset.open(manual_dir).fingerprint()
    except (DataError, OSError) as error:
        why = f"the copy there cannot be read ({str(error).splitlines()[0]})"
    else:
        written = tfds.builder_from_directory(folder).info.metadata
        if found == written.get("fingerprint"):
            return
        why = "its table, its clips or their frames are others"
    print(
        f"The records in {folder} are not of {manual_dir}: {why}. They are used as "
        "they are; to prepare them anew, delete that folder first.",
        file=sys.stderr,
    )


def _unknown(kind: str, given: str, valid) -> str:
    nearest = difflib.get_close_matches(given, valid, n=1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"There is no {kind} named {given!r}.{hint} Valid names: {', '.join(valid)}."


def check_manual_dir(name: str, manual_dir: str | os.PathLike | None) -> None:
    """Raises DataError, with how to get the data set, unless there is a folder."""
    if manual_dir is None:
        found = f"{name} is read from your own copy: give it with --manual_dir=DIR."
    elif not Path(manual_dir).expanduser().is_dir():
        found = f"--manual_dir={manual_dir} is not a folder."
    elif not any(Path(manual_dir).expanduser().iterdir()):
        found = f"--manual_dir={manual_dir} is empty."
    else:
        return
    instructions = builder_class(name).MANUAL_DOWNLOAD_INSTRUCTIONS
    raise DataError(f"{found}\n{instructions.strip()}")


def describe(info: tfds.core.DatasetInfo) -> str:
    """What was found in a licensed copy, what was left out, what was written."""
    metadata = info.metadata
    found = [key for key in ("table", "release", "crop") if key in metadata]
    lines = [f"{key}: {metadata[key]}" for key in found]
    lines += [f"note: {note}" for note in metadata.get("notes", [])]
    for entry in metadata.get("left_out", []):
        where = f"row {entry['row']} of {entry['table']}"
        if entry["row"] is None:
            where = "a folder"
        clip = f"{entry['subject']}/{entry['clip']}"
        lines.append(f"left out: {where}, {clip}: {entry['reason']}")
    clips = info.splits["train"].num_examples
    lines.append(f"{info.full_name}: {clips} clips in {info.data_dir}")
    return "\n".join(lines)


def main(
    name: tyro.conf.Positional[str],
    /,
    manual_dir: str | None = None,
    data_dir: str | None = None,
    workers: int | None = None,
    clip: tyro.conf.OmitArgPrefixes[Options] = Options(),  # noqa: B008
) -> None:
    """Write the records of a data set.

    Args:
      name: synthetic, casme, casme2, cas_me_2 or your own, with a configuration after
        a slash: synthetic/hard.
      manual_dir: folder of your licensed copy.
      data_dir: where records are kept (default: ~/tensorflow_datasets).
      workers: threads that read your copy (default: one a core).
      clip: what a clip is; each is the data set's own unless given.
    """
    there = is_prepared(Path(builder(name, data_dir, clip).data_dir))
    folder = prepare(
        name,
        manual_dir=manual_dir,
        data_dir=data_dir,
        options=clip,
        workers=workers,
    )
    if there:  # else it was said when they were written
        print(describe(tfds.builder_from_directory(folder).info), file=sys.stderr)


if __name__ == "__main__":
    try:
        tyro.cli(main, prog="python -m datasets.prepare", use_underscores=True)
    except (DataError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; no records were kept", file=sys.stderr)
        sys.exit(130)
