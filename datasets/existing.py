"""Records that exist: whether they are complete, current, and what they contain."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from datasets.few_lines import few_of_each
from datasets.source.annotations import entry_label

# Number of notes, and of rows that are left out, in the summary of records
_MAX_LINES = 20

# Number of rows in it that are left out for the same reason
_MAX_ALIKE = 5


def is_prepared(folder: Path) -> bool:
    """Returns whether a folder contains complete records.

    TFDS moves records to their final folder only when they are complete.
    """
    return (folder / "dataset_info.json").is_file()


def earlier_records(folder: Path) -> list[Path]:
    """Returns the folders of complete records of earlier minor versions, newest first.

    Args:
      folder: where the current version is or would be, named after it.
    """
    versions = {
        tfds.core.Version(path.name): path
        for path in folder.parent.glob("*")
        if re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", path.name) and is_prepared(path)
    }
    current = tfds.core.Version(folder.name)
    earlier = [v for v in versions if v.major == current.major and v < current]
    return [versions[version] for version in sorted(earlier, reverse=True)]


def describe_earlier(dataset: tfds.core.DatasetBuilder, earlier: Path) -> str:
    """Describes what changed since the version of earlier records."""
    version = tfds.core.Version(earlier.name)
    changes = [
        f"{number}: {text}"
        for number, text in sorted(dataset.RELEASE_NOTES.items())
        if version < tfds.core.Version(number) <= dataset.version
    ]
    text = f"warning: using the records in {earlier}, of an earlier version."
    if changes:
        text += f" Changes since then: {' '.join(changes)}"
    if dataset.MANUAL_DOWNLOAD_INSTRUCTIONS:
        text += " To prepare them again, give your copy with --manual_dir=DIR."
    return text


def missing_features(folder: Path, needed: Collection[str]) -> list[str]:
    """Returns the features among ``needed`` that records do not have, sorted."""
    if not needed:
        return []
    # Not with TFDS, which would import the modules of the classes in this file.
    try:
        content = json.loads((folder / "features.json").read_text())
        features = set(content["featuresDict"]["features"])
    except (OSError, ValueError, KeyError, TypeError):
        features = set()  # damaged
    return sorted(set(needed) - features)


def describe(info: tfds.core.DatasetInfo) -> str:
    """Returns a summary of the records: source, notes, rows left out, clips written."""
    metadata = info.metadata
    found = [key for key in ("table", "release", "crop") if key in metadata]
    lines = [f"{key}: {metadata[key]}" for key in found]
    left_out = []
    for entry in metadata.get("left_out", []):
        source = "a folder"
        if entry["row"] is not None:
            from_folders = metadata.get("of_folders", False)
            source = entry_label(entry["row"], entry["table"], from_folders)
        clip = f"{entry['subject']}/{entry['clip']}"
        left_out.append((f"{source}, {clip}: {entry['reason']}", entry["reason"]))
    for kind, some in (
        ("note", [(note, 1) for note in metadata.get("notes", [])]),
        ("left out", few_of_each(left_out, _MAX_ALIKE, "metadata.json has all")),
    ):
        lines += [f"{kind}: {line}" for line, _ in some[:_MAX_LINES]]
        if more := sum(number for _, number in some[_MAX_LINES:]):
            lines.append(
                f"{kind}: {more} more; metadata.json in the folder of the records has "
                "all, and python -m datasets.check lists them by kind"
            )
    clips = info.splits["train"].num_examples
    rows = _rows_left_out(metadata)
    of = f" of {clips + rows} expressions" if "left_out" in metadata else ""
    lines.append(f"{info.full_name}: {clips} clips{of} in {info.data_dir}")
    return "\n".join(lines)


def describe_losses(info: tfds.core.DatasetInfo) -> str:
    """Returns what the records are missing of the copy; empty if nothing is."""
    parts = [
        f"{name} was not found" for name in info.metadata.get("missing_tables", [])
    ]
    if rows := _rows_left_out(info.metadata):
        parts.insert(0, f"{rows} rows are left out")
    return ", ".join(parts)


def _rows_left_out(metadata: Mapping) -> int:
    return sum(entry["row"] is not None for entry in metadata.get("left_out", []))
