"""A user's licensed copy: its table and its frames, made into examples.

What differs between data sets is told by ``Facts``; the builders and
``python -m datasets.check`` read a copy through here, so that what the one writes is
what the other reports.
"""

import collections
import dataclasses
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import track

from datasets import clips, faces, records
from datasets.annotations import (
    Annotation,
    Columns,
    LeftOut,
    Table,
    find_tables,
    leads_to,
    read_table,
)
from datasets.errors import DataError
from datasets.expressions import Note, find_expression
from datasets.frames import Recording, numbered_frames, resize
from datasets.layouts import Layout, Release, choose_layout
from datasets.parallel import in_parallel

Crop = Literal["auto", "provided", "detect", "none"]

# Frames of a clip in which a face is looked for.
_FACES = 5


@dataclasses.dataclass(kw_only=True)
class CopyConfig(clips.ClipConfig):
    """What becomes of a licensed copy.

    Attributes:
      crop: ``provided``: the data set's own cropped release. ``detect``: faces are
        found in a raw one. ``none``: frames are taken whole. ``auto``: ``provided`` if
        the copy allows it, else ``detect``.
      margin: what is added around a detected face on each side, as a share of it.
      release: the release to read; None leaves the choice to ``crop``.
      table: file name of the table to read; None takes the preferred one.
    """

    crop: Crop = "auto"
    margin: float = faces.MARGIN
    release: str | None = None
    table: str | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.crop not in ("auto", "provided", "detect", "none"):
            raise DataError(
                f"--crop={self.crop} is none of auto, provided, detect, none."
            )
        if not 0 <= self.margin <= 2:
            raise DataError(f"--margin={self.margin} must be from 0 to 2.")

    def full_name(self) -> str:
        parts = [self.shape_name()]
        if self.crop != "auto":
            parts.append(self.crop)
        if self.margin != faces.MARGIN:
            parts.append(f"margin{self.margin!r}")
        for field in ("release", "table"):
            if (value := getattr(self, field)) is not None:
                parts.append(f"{field}_{_plain(value)}")
        return "-".join(parts)


def _plain(value: str) -> str:
    """Fit for a folder's name; what differs stays different."""
    plain = re.sub(r"[^\w.-]+", "_", value)
    if plain == value:
        return plain
    return f"{plain}_{hashlib.sha256(value.encode()).hexdigest()[:6]}"


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a data set before a copy of it is opened.

    Attributes:
      name: its name in this program.
      title: its name in its authors' spelling.
      homepage: where it is applied for.
      emotions: those that its table names.
      columns: of its tables.
      tables: how its tables are called, the preferred first: a name for people and a
        pattern. Where a table comes in parts there is one for each, and all are read.
      releases: the cropped first, then in the order of preference.
      expected: how a copy should lie on disk, for people.
      published: counts of the expressions by emotion, for each generation of the
        table; how the check tells whether a copy is whole.
      paper: the counts in the paper that this project implements.
      remarks: why a generation's counts of some emotions are not the paper's.
      interpret: puts the emotion and what a record has beside into a row.
      chosen: whether a configuration takes a row.
      beside: what a record has beside the common features, for a row.
      comparable: whether the counts are of what a configuration takes.
    """

    name: str
    title: str
    homepage: str
    emotions: tuple[str, ...]
    columns: Columns
    tables: tuple[tuple[tuple[str, re.Pattern], ...], ...]
    releases: tuple[Release, ...]
    expected: str
    published: Mapping[str, Mapping[str, int]]
    paper: Mapping[str, int]
    remarks: Mapping[str, Mapping[str, str]]
    interpret: Callable[[Annotation], Annotation] = lambda row: row
    chosen: Callable[[Annotation, CopyConfig], bool] = lambda row, config: True
    beside: Callable[[Annotation], dict] = lambda row: {}
    comparable: Callable[[CopyConfig], bool] = lambda config: True

    @property
    def instructions(self) -> str:
        """How to get the data set, for one who has given no copy."""
        return f"""\
{self.title} is licensed: apply for it at {self.homepage}, sign the
agreement, then download the table and the cropped frames (or the raw ones), unpack
the archives into one folder and give that folder:

  python -m datasets.prepare {self.name} --manual_dir=FOLDER

{self.expected}
"""


@dataclasses.dataclass(frozen=True)
class Copy:
    """A copy that was opened: what is in its tables and where its frames are.

    Attributes:
      facts: of its data set.
      manual_dir: where it lies.
      tables: those that are read.
      layout: the release that is read.
      crop: ``provided``, ``detect`` or ``none``.
      rows: the expressions that were asked for, each with its id.
      left_out: rows that cannot be read, and frames that no row names.
      others: how many expressions were not asked for.
      lacking: parts of the table that were not found.
      notes: what a user should know of what was chosen.
    """

    facts: Facts
    manual_dir: Path
    tables: tuple[Table, ...]
    layout: Layout
    crop: str
    rows: tuple[tuple[str, Annotation], ...]
    left_out: tuple[LeftOut, ...]
    others: int
    lacking: tuple[str, ...]
    notes: tuple[str, ...]

    def describe(self) -> dict[str, str]:
        """What was found, by a name for each."""
        return {
            "table": "; ".join(
                f"{table.path.relative_to(self.manual_dir)}, sheet {table.sheet}"
                for table in self.tables
            ),
            "release": f"{self.layout.release.name}, in "
            f"{self.layout.within(self.manual_dir)}",
            "crop": self.crop,
        }

    def fingerprint(self) -> str:
        """Tells a copy from another: by its tables, its release, and its files' sizes.

        No frame is read for it, so that it takes seconds at the most.
        """
        digest = hashlib.sha256()
        for table in self.tables:
            # What it says and not its bytes, in which programs note when they saved it.
            digest.update(repr((table.rows, table.left_out)).encode())
        digest.update(repr((self.layout.release.name, self.crop)).encode())
        for clip, source in sorted(self.layout.clips.items()):
            digest.update(repr((clip, _sizes(source))).encode())
        return digest.hexdigest()


def _sizes(source: Path) -> list[tuple[str, int]]:
    """The files of a folder, or the video itself, with their sizes in bytes."""
    try:
        if not source.is_dir():
            return [(source.name, source.stat().st_size)]
        with os.scandir(source) as entries:
            return sorted(
                (entry.name, entry.stat().st_size)
                for entry in entries
                if leads_to(entry.is_file)
            )
    except OSError:  # reported where its frames are read
        return []


@dataclasses.dataclass(frozen=True)
class Example:
    """What an expression became: a record, or a reason why it is none.

    Attributes:
      clip_id: names the expression in the data set.
      row: what the table says of it.
      record: its features; None if there is a reason.
      reason: why it is left out; None if there is a record.
      notes: what was unusual.
    """

    clip_id: str
    row: Annotation
    record: dict | None
    reason: str | None
    notes: tuple[Note, ...] = ()

    def left_out(self) -> LeftOut:
        """The line of a report, for one that has a reason."""
        row = self.row
        return LeftOut(row.table, row.number, row.subject, row.clip, self.reason)


def open_copy(facts: Facts, config: CopyConfig, manual_dir: Path) -> Copy:
    """Finds the tables and the release to read in a user's folder.

    Raises:
      DataError: if there is none, or the table names nothing that is asked for.
    """
    manual_dir = Path(manual_dir)
    tables, lacking, notes = _choose_tables(facts, config, manual_dir)
    rows, left_out, others = [], [], 0
    for table in tables:
        left_out += table.left_out
        for row in table.rows:
            try:
                row = facts.interpret(row)
                if row.emotion not in facts.emotions:
                    raise DataError(
                        f"emotion {row.emotion!r} is none of {facts.title}'s: "
                        f"{', '.join(facts.emotions)}"
                    )
            except DataError as error:
                left_out.append(
                    LeftOut(row.table, row.number, row.subject, row.clip, str(error))
                )
                continue
            rows.append(row)
    # Over all rows, so that an id does not hang on what is asked for.
    counts = collections.Counter(_clip_of(row) for row in rows)
    ids: dict[str, Annotation] = {}
    firsts: dict[tuple, Annotation] = {}
    for row in rows:
        if not facts.chosen(row, config):
            others += 1
            continue
        clip_id = f"{row.subject}/{row.clip}"
        if counts[_clip_of(row)] > 1:
            clip_id += f"@{row.onset}"
        first = firsts.setdefault((*_clip_of(row), row.onset), row)
        if first is row:
            ids[clip_id] = row
        else:
            reason = f"{where(first, tables)} has the same subject, clip and onset"
            left_out.append(
                LeftOut(row.table, row.number, row.subject, row.clip, reason)
            )
    if not ids:
        raise DataError(nothing_left(facts, tables, left_out))
    wanted = [(row.subject, row.clip) for row in ids.values()]
    allowed = _releases(facts, config)
    layout, layout_notes = choose_layout(
        manual_dir, allowed, wanted, [r for r in facts.releases if r not in allowed]
    )
    # Of all rows, also of those that were not asked for.
    sources = collections.Counter(layout.source(row.subject, row.clip) for row in rows)
    shared = frozenset(source for source, n in sources.items() if source and n > 1)
    layout = dataclasses.replace(layout, shared=shared)
    crop = config.crop
    if crop == "auto":
        crop = "provided" if layout.release.cropped else "detect"
    left_out += _frames_without_row(layout, (*rows, *left_out))
    return Copy(
        facts=facts,
        manual_dir=manual_dir,
        tables=tuple(tables),
        layout=layout,
        crop=crop,
        rows=tuple(ids.items()),
        left_out=tuple(left_out),
        others=others,
        lacking=tuple(lacking),
        notes=(*notes, *layout_notes),
    )


def _clip_of(row: Annotation) -> tuple[str, str]:
    """The clip however its name is written: folders are found in any case too."""
    return row.subject, row.clip.casefold()


def _releases(facts: Facts, config: CopyConfig) -> list[Release]:
    """Those that the configuration allows, the preferred first.

    Raises:
      DataError: if the release does not exist or contradicts the crop.
    """
    releases = list(facts.releases)
    if config.release is not None:
        releases = [r for r in releases if r.name == config.release]
        if not releases:
            raise DataError(
                f"--release={config.release} is none of {facts.title}'s: "
                f"{', '.join(r.name for r in facts.releases)}."
            )
    if config.crop in ("provided", "detect"):
        wanted = config.crop == "provided"
        releases = [r for r in releases if r.cropped == wanted]
        if not releases:
            raise DataError(
                f"--crop={config.crop} does not go with --release={config.release}, "
                f"which is {'not ' * wanted}cropped."
            )
    elif config.crop == "none":  # the whole frame, if the copy has it
        releases.sort(key=lambda release: release.cropped)
    return releases


def _choose_tables(
    facts: Facts, config: CopyConfig, manual_dir: Path
) -> tuple[list[Table], list[str], list[str]]:
    """The tables to read, what lacks of them, and what to say of the choice."""
    found = find_tables(manual_dir)
    named: dict[Path, int] = {}
    for path in found:
        for kind, parts in enumerate(facts.tables):
            if any(pattern.search(path.name) for _, pattern in parts):
                named.setdefault(path, kind)

    def shown(paths: Iterable[Path]) -> str:
        return ", ".join(str(path.relative_to(manual_dir)) for path in paths)

    if config.table is not None:
        chosen = [path for path in found if path.name == config.table][:1]
        if not chosen:
            raise DataError(
                f"There is no table {config.table} in {manual_dir}, up to four folders "
                f"deep. Tables there: {shown(found) or 'none'}."
            )
        return [read_table(chosen[0], facts.columns)], [], []
    if not named:
        table, note = _renamed_table(facts, found, manual_dir, shown)
        return [table], [], [note]
    best = min(named.values())
    chosen, lacking = [], []
    for name, pattern in facts.tables[best]:
        # Of several the newest, of these the nearest, which find_tables comes first
        # upon.
        there = [path for path in named if pattern.search(path.name)]
        chosen += sorted(there, key=_date, reverse=True)[:1]
        lacking += [] if there else [name]
    notes = [f"a part of the table was not found: {name}" for name in lacking]
    if others := [path for path in named if path not in chosen]:
        notes.append(
            f"of several tables {shown(chosen)} was taken, not {shown(others)}"
        )
    return [read_table(path, facts.columns) for path in chosen], lacking, notes


def _renamed_table(
    facts: Facts,
    found: Sequence[Path],
    manual_dir: Path,
    shown: Callable[[Iterable[Path]], str],
) -> tuple[Table, str]:
    """A table of another name, which its columns tell, and what to say of it.

    Raises:
      DataError: if there is none.
    """
    refused = []
    for path in found:
        try:
            table = read_table(path, facts.columns)
        except DataError as error:
            refused.append((path, error))
            continue
        return (
            table,
            f"{shown([path])} was taken, whose columns are those of {facts.title}",
        )
    lines = [
        f"No table of {facts.title} was found in {manual_dir}, up to four folders deep."
    ]
    if len(refused) == 1:
        lines.append(str(refused[0][1]))
    else:
        tables = shown(path for path, _ in refused)
        lines.append(f"Tables with other columns: {tables or 'none'}.")
    above = manual_dir.resolve().parent
    for folder in (above, above.parent):
        try:
            near = any(_is_named(path, facts) for path in find_tables(folder, depth=0))
        except OSError:  # not ours to look into
            break
        if near:
            lines.append(f"There is one in {folder}: give that as --manual_dir.")
            break
    raise DataError("\n".join([*lines, facts.expected]))


def _date(path: Path) -> str:
    """The date in a table's name, 20190701; empty if there is none."""
    return max(re.findall(r"(?<![0-9])[12][0-9]{7}(?![0-9])", path.name), default="")


def _is_named(path: Path, facts: Facts) -> bool:
    """Whether a table's name is one of the data set's."""
    return any(
        pattern.search(path.name) for parts in facts.tables for _, pattern in parts
    )


def _frames_without_row(layout: Layout, rows: Sequence) -> list[LeftOut]:
    named = {(row.subject, layout.release.of_clip(row.clip)) for row in rows}
    unused = []
    for (subject, clip), source in layout.clips.items():
        if (subject, clip) in named:
            continue
        reason = "frames, but no row in the table"
        try:
            if source.is_dir() and not numbered_frames(source):
                continue
        except PermissionError:
            reason = "a folder that may not be read, and no row in the table"
        unused.append(LeftOut(None, None, subject, source.stem, reason))
    doubles = [
        LeftOut(
            None,
            None,
            source.parent.name,
            source.name,
            "a second folder or video of this clip",
        )
        for source in layout.doubles
    ]
    doubles += [
        LeftOut(None, None, source.name, "", "its folder may not be read")
        for source in layout.closed
    ]
    return sorted([*unused, *doubles], key=lambda entry: (entry.subject, entry.clip))


def examples(
    copy: Copy, config: CopyConfig, workers: int | None = None
) -> Iterator[Example]:
    """Every expression's example, in the order of the table.

    Args:
      copy: as opened with the same configuration.
      config: how a clip is made.
      workers: threads that decode, look for faces and resize; None takes one a core.
        The result does not hang on it.
    """
    return in_parallel(
        lambda item: make_example(copy, config, *item), copy.rows, workers
    )


def make_example(
    copy: Copy, config: CopyConfig, clip_id: str, row: Annotation
) -> Example:
    """What one expression becomes."""
    try:
        record, notes = _record(copy, config, row)
    except DataError as error:
        return Example(clip_id, row, None, str(error))
    return Example(clip_id, row, {"clip_id": clip_id, **record}, None, notes)


def _record(
    copy: Copy, config: CopyConfig, row: Annotation
) -> tuple[dict[str, object], tuple[Note, ...]]:
    expression = find_expression(copy.layout, row)
    run = expression.run
    notes = list(expression.notes)
    numbers = clips.clip_numbers(
        config,
        onset=expression.onset,
        apex=expression.apex,
        offset=expression.offset,
        first=run.first,
        last=run.last,
    )
    taken = [run.nearest(number) for number in numbers.tolist()]
    bridged = sorted(
        {n for n, t in zip(numbers.tolist(), taken, strict=True) if n != t}
    )
    if bridged:
        notes.append(
            Note(
                "missing frames bridged",
                f"missing: {', '.join(map(str, bridged))}; the nearest frame was taken",
            )
        )
    face = None
    if copy.crop == "detect":
        face = _find_face(run, sorted(set(taken)), config.margin)
    images = {
        number: resize(image if face is None else face.cut(image), config.size)
        for number, image in run.frames(taken)
    }
    clip = np.stack([images[number] for number in taken])
    if config.sampling == "tim":
        clip = clips.interpolate(clip, config.frames)
    record = {
        "clip": clip,
        "subject": row.subject,
        "emotion": row.emotion,
        "onset": expression.onset,
        "apex": expression.apex,
        "offset": expression.offset,
        "apex_estimated": expression.apex_estimated,
        "offset_estimated": expression.offset_estimated,
        "action_units": row.action_units,
        "face": np.zeros(4, np.float32) if face is None else face.as_array(),
        **copy.facts.beside(row),
    }
    return record, tuple(notes)


def _find_face(run: Recording, numbers: Sequence[int], margin: float) -> faces.Square:
    """The square about the face, from some of these frames, evenly spaced."""
    places = clips.uniform_numbers(
        0, len(numbers) - 1, frames=min(_FACES, len(numbers))
    )
    looked_at = run.frames(numbers[place] for place in places.tolist())
    return faces.locate(dict(looked_at), margin)


def nothing_left(
    facts: Facts, tables: Sequence[Table], left_out: Sequence[LeftOut]
) -> str:
    """The message where no row can become a record."""
    shown = [
        f"  row {entry.row} ({entry.subject}/{entry.clip}): {entry.reason}"
        for entry in left_out[:5]
        if entry.row is not None
    ]
    return "\n".join(
        [
            f"No row of {', '.join(str(t.path) for t in tables)} can become a record.",
            *shown,
            f"Check that the table and the frames are those of {facts.title} and "
            "unpack them again.",
        ]
    )


class CopyBuilder(records.StreamedBuilder, skip_registration=True):
    """Records of a licensed copy; a data set's ``Builder`` gives its ``FACTS``."""

    FACTS: Facts
    builder_config: CopyConfig

    # Threads that read clips; None takes one a core. No part of the configuration,
    # since the records do not hang on it.
    workers: int | None = None

    # One that is open already, which spares opening it again.
    copy: Copy | None = None

    def features(self) -> dict:
        """What a record has beside the common features of all licensed data sets."""
        return {}

    def open(self, manual_dir: Path) -> Copy:
        """Opens a copy as this builder would read it."""
        return open_copy(self.FACTS, self.builder_config, manual_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            homepage=self.FACTS.homepage,
            features=clips.record_features(
                self.builder_config,
                self.FACTS.emotions,
                offset_estimated=tfds.features.Scalar(np.bool_),
                action_units=tfds.features.Text(),
                # Centre x and y and side in pixels of the frame, and angle in degrees,
                # of the square that was cut out; zeros if none was.
                face=tfds.features.Tensor(shape=(4,), dtype=np.float32),
                **self.features(),
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        copy = self.copy or self.open(Path(dl_manager.manual_dir))
        self.info.metadata.update(
            **copy.describe(),
            fingerprint=copy.fingerprint(),
            notes=list(copy.notes),
        )
        return {"train": self._generate_examples(copy)}

    def _generate_examples(self, copy: Copy) -> Iterator[tuple[str, dict]]:
        left_out, written = list(copy.left_out), 0
        for example in track(
            examples(copy, self.builder_config, self.workers),
            description="Reading clips",
            total=len(copy.rows),
            console=Console(stderr=True),
        ):
            if example.record is None:
                left_out.append(example.left_out())
                continue
            written += 1
            self.info.metadata["notes"] += [
                f"{where(example.row, copy.tables)} ({example.clip_id}): {note.text}"
                for note in example.notes
            ]
            yield example.clip_id, example.record
        # By row; frames without one, already sorted, at the end.
        left_out.sort(key=lambda entry: (entry.row is None, entry.table, entry.row))
        if not written:
            raise DataError(nothing_left(self.FACTS, copy.tables, left_out))
        self.info.metadata["left_out"] = [dataclasses.asdict(e) for e in left_out]


def where(row: Annotation, tables: Sequence[Table]) -> str:
    """The row as a user finds it: ``row 12``, with its table if there are several."""
    return f"row {row.number}" + (f" of {row.table}" if len(tables) > 1 else "")
