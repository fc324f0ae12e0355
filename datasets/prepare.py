"""Write a data set's records: ``python -m datasets.prepare NAME [--manual_dir=DIR]``.

The work is TFDS's: shards are written to a folder beside the final one and moved
there when all is written, so that an interrupted run leaves nothing that a later one
takes for whole.
"""

import contextlib
import difflib
import importlib
import os
import sys
from pathlib import Path

import tensorflow_datasets as tfds
import tyro

from datasets.errors import DataError

# In the order of the README.
NAMES = ("synthetic", "casme2")

# array_record reads any clip at once, whatever the shard; small shards let several
# processes write and copy them side by side.
_SHARD_BYTES = 64 << 20


def builder(
    name: str, data_dir: str | os.PathLike | None = None
) -> tfds.core.DatasetBuilder:
    """The builder of ``name`` or ``name/config``.

    Raises:
      DataError: if there is no such data set or configuration.
    """
    dataset, _, config = name.partition("/")
    if dataset not in NAMES:
        raise DataError(_unknown("data set", dataset, NAMES))
    module = importlib.import_module(f"datasets.{dataset}.{dataset}_dataset_builder")
    configs = module.Builder.builder_configs
    if config and config not in configs:
        raise DataError(_unknown(f"configuration of {dataset}", config, configs))
    return module.Builder(
        config=config or None,
        data_dir=None if data_dir is None else os.path.expanduser(data_dir),
        file_format="array_record",
    )


def prepare(
    name: str,
    *,
    manual_dir: str | os.PathLike | None = None,
    data_dir: str | os.PathLike | None = None,
) -> Path:
    """Write the records of ``name`` unless they are there, and say what was found.

    Args:
      name: a data set, with its configuration after a slash if not the default one.
      manual_dir: where the user's licensed copy lies; needed to write, not to read.
      data_dir: where records go; TFDS's default is ``~/tensorflow_datasets``.

    Returns:
      The folder of the records.

    Raises:
      DataError: if the name is unknown or the copy cannot be read.
      OSError: if the records cannot be written.
    """
    dataset = builder(name, data_dir)
    folder = Path(dataset.data_dir)
    if (folder / "dataset_info.json").is_file():
        if manual_dir is not None:
            print(
                f"The records of {name} are in {folder} already; {manual_dir} is not "
                "read again. To prepare them anew, delete that folder first.",
                file=sys.stderr,
            )
        return folder
    if dataset.MANUAL_DOWNLOAD_INSTRUCTIONS:
        _check_manual_dir(dataset, manual_dir)
    tfds.disable_progress_bar()  # builders show their own, with the time left
    download_config = tfds.download.DownloadConfig(
        manual_dir=manual_dir and os.path.expanduser(manual_dir),
        min_shard_size=_SHARD_BYTES // 4,
        max_shard_size=_SHARD_BYTES,
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
    print(describe(dataset.info), file=sys.stderr)
    return folder


def _unknown(kind: str, given: str, valid) -> str:
    nearest = difflib.get_close_matches(given, valid, n=1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"There is no {kind} named {given!r}.{hint} Valid names: {', '.join(valid)}."


def _check_manual_dir(dataset: tfds.core.DatasetBuilder, manual_dir) -> None:
    if manual_dir is None:
        found = f"{dataset.name} is licensed: give your copy with --manual_dir=DIR."
    elif not Path(manual_dir).expanduser().is_dir():
        found = f"--manual_dir={manual_dir} is not a folder."
    elif not any(Path(manual_dir).expanduser().iterdir()):
        found = f"--manual_dir={manual_dir} is empty."
    else:
        return
    raise DataError(f"{found}\n{dataset.MANUAL_DOWNLOAD_INSTRUCTIONS.strip()}")


def describe(info: tfds.core.DatasetInfo) -> str:
    """What was found in a licensed copy, what was left out, what was written."""
    metadata = info.metadata
    found = [key for key in ("table", "layout") if key in metadata]
    lines = [f"{key}: {metadata[key]}" for key in found]
    lines += [f"note: {note}" for note in metadata.get("notes", [])]
    for entry in metadata.get("left_out", []):
        where = "a folder" if entry["row"] is None else f"row {entry['row']}"
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
) -> None:
    """Write the records of a data set.

    Args:
      name: synthetic or casme2, with a configuration after a slash: synthetic/hard.
      manual_dir: folder of your licensed copy.
      data_dir: where records are kept (default: ~/tensorflow_datasets).
    """
    there = (Path(builder(name, data_dir).data_dir) / "dataset_info.json").is_file()
    folder = prepare(name, manual_dir=manual_dir, data_dir=data_dir)
    if there:  # else it was said when they were written
        print(describe(tfds.builder_from_directory(folder).info), file=sys.stderr)


if __name__ == "__main__":
    try:
        tyro.cli(main, use_underscores=True)
    except (DataError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; no records were kept", file=sys.stderr)
        sys.exit(130)
