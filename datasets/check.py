"""What a licensed copy holds: ``python -m datasets.check NAME --manual_dir=DIR``.

Every expression is read as ``datasets.prepare`` would read it, and beyond that every
frame from onset to offset; nothing is written.
"""

import collections
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

from datasets import prepare
from datasets.contact_sheet import Sheet, check_path, tiles
from datasets.parallel import in_parallel
from datasets.source.annotations import Annotation, where
from datasets.source.examples import Example, make_example
from datasets.source.local_copy import Copy, open_copy
from datasets.source.specification import CopyConfig
from meranet_jax.errors import DataError

# Expressions of fewer frames are left out by the paper's recipe for CASME and CASME II.
_SHORT = 16

# Of each kind of note so many are printed; all are in the JSON.
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found in a copy; ``--json`` prints it.

    Attributes:
      data_set: name of the data set and of the configuration that it was read with.
      manual_dir: where the copy lies.
      table: the tables that were read, as text.
      release: the release that was read.
      crop: where the faces come from: ``provided``, ``detect`` or ``none``.
      choice: what a user should know of what was chosen.
      lacking: parts of the table that were not found.
      rows: expressions in the tables, but for those that were not asked for.
      records: how many of them can become a record.
      not_asked_for: expressions that the configuration leaves out.
      emotions: by emotion the number of rows and of records.
      subjects: by subject the number of records.
      lengths: frames from onset to offset: the least, the median, the most, and how
        many records have fewer than 16. None if there is no record.
      frames_read: how many images were decoded.
      no_record: rows that cannot become a record, and why.
      unreadable: images and videos that cannot be read, and why, by path.
      no_row: frames that no row names.
      noted: what was unusual about records, by kind.
      published: name of the published counts that the rows come nearest to, and these.
      paper: the paper's counts.
      differences: a sentence on each difference from these.
    """

    data_set: str
    manual_dir: str
    table: str
    release: str
    crop: str
    choice: list[str]
    lacking: list[str]
    rows: int
    records: int
    not_asked_for: int
    emotions: dict[str, dict[str, int]]
    subjects: dict[str, int]
    lengths: dict[str, float] | None
    frames_read: int
    no_record: list[dict]
    unreadable: dict[str, str]
    no_row: list[dict]
    noted: dict[str, list[str]]
    published: dict[str, dict[str, int]]
    paper: dict[str, int]
    differences: list[str]

    @property
    def whole(self) -> bool:
        """Whether all of the table is there and every row and image can be read."""
        return not (self.no_record or self.unreadable or self.lacking)


def check(
    name: str,
    manual_dir: Path,
    *,
    options: prepare.Options = prepare.Options(),  # noqa: B008 (it is frozen)
    sheet: Sheet | None = None,
    workers: int | None = None,
) -> Report:
    """Reads a licensed copy and says what is in it.

    Args:
      name: a licensed data set.
      manual_dir: where the copy lies.
      options: how it would be prepared.
      sheet: takes onset, apex and offset of some clips of each emotion.
      workers: threads that read; one a core unless given.

    Raises:
      DataError: if it is no licensed data set, or there is no table or no frames.
    """
    config = prepare.configuration(name, options)
    if not isinstance(config, CopyConfig):
        raise DataError(f"{name} is generated: there is no copy of it to check.")
    prepare.check_manual_dir(name, manual_dir)
    copy = open_copy(prepare.builder_class(name).FACTS, config, manual_dir)
    examples, unreadable, frames_read = [], {}, 0

    def examine(item: tuple[str, Annotation]):
        example = make_example(copy, config, *item)
        wanted = sheet is not None and sheet.wants(example)
        shown = tiles(example, config.size) if wanted else None
        return example, shown, *_read_all(copy, example)

    for example, shown, read, damaged in track(
        in_parallel(examine, copy.rows, workers),
        description="Reading clips",
        total=len(copy.rows),
        console=Console(stderr=True),
    ):
        if shown is not None:
            sheet.add(example, shown)
        # Memory must not grow with the data set.
        if example.record is not None:
            del example.record["clip"]
        examples.append(dataclasses.replace(example, expression=None))
        frames_read += read
        unreadable |= damaged
    return _report(name, copy, config, examples, unreadable, frames_read)


def _read_all(copy: Copy, example: Example) -> tuple[int, dict[str, str]]:
    """Decodes every frame from onset to offset: how many, and which are damaged."""
    expression = example.expression
    if expression is None:  # its reason says why
        return 0, {}
    run = expression.run
    numbers = [n for n in run.places if expression.onset <= n <= expression.offset]
    read, damaged = 0, {}
    # A video is decoded from its start, so all at once.
    for part in [numbers] if run.source.is_file() else [[n] for n in numbers]:
        try:
            read += sum(1 for _ in run.frames(part))
        except DataError as error:
            path = run.source if run.source.is_file() else run.places[part[0]]
            # The error begins with the file's name, which the path ends with.
            reason = str(error).removeprefix(f"{path.name} ")
            damaged[str(path.relative_to(copy.manual_dir))] = reason
    return read, damaged


def _report(
    name: str,
    copy: Copy,
    config: CopyConfig,
    examples: Sequence[Example],
    unreadable: Mapping[str, str],
    frames_read: int,
) -> Report:
    records = [example for example in examples if example.record is not None]
    unread = [entry for entry in copy.left_out if entry.row is not None]
    no_record = [*unread, *(e.left_out() for e in examples if e.record is None)]
    no_record.sort(key=lambda entry: (entry.table, entry.row))
    in_table = collections.Counter(example.row.emotion for example in examples)
    recorded = collections.Counter(example.row.emotion for example in records)
    lengths = [e.record["offset"] - e.record["onset"] + 1 for e in records]
    noted = collections.defaultdict(list)
    for example in records:
        for note in example.notes:
            noted[note.kind].append(
                f"{where(example.row, copy.tables)}, {example.clip_id}: {note.text}"
            )
    published, differences = _compare(copy, config, in_table, recorded, len(unread))
    return Report(
        data_set=f"{name}/{config.name}",
        manual_dir=str(copy.manual_dir),
        **copy.describe(),
        choice=list(copy.notes),
        lacking=list(copy.lacking),
        rows=len(examples) + len(unread),
        records=len(records),
        not_asked_for=copy.others,
        emotions={
            emotion: {"rows": in_table[emotion], "records": recorded[emotion]}
            for emotion in copy.facts.emotions
        },
        subjects=dict(
            sorted(collections.Counter(e.row.subject for e in records).items())
        ),
        lengths={
            "least": min(lengths),
            "median": float(np.median(lengths)),
            "most": max(lengths),
            "short": sum(length < _SHORT for length in lengths),
        }
        if lengths
        else None,
        frames_read=frames_read,
        no_record=[dataclasses.asdict(entry) for entry in no_record],
        unreadable=dict(sorted(unreadable.items())),
        no_row=[dataclasses.asdict(e) for e in copy.left_out if e.row is None],
        noted=dict(sorted(noted.items())),
        published=published,
        paper=dict(copy.facts.paper),
        differences=differences,
    )


def _compare(
    copy: Copy,
    config: CopyConfig,
    in_table: Mapping[str, int],
    recorded: Mapping[str, int],
    unread: int,
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """The nearest published counts, and a sentence on each difference."""
    facts = copy.facts
    if not facts.published or not facts.comparable(config):
        return {}, ["Neither the paper nor we have counts of what was asked for."]
    name = min(
        facts.published,
        key=lambda name: sum(
            abs(in_table[e] - facts.published[name].get(e, 0)) for e in facts.emotions
        ),
    )
    sentences = []
    if others := [
        f"{emotion} {in_table[emotion]} instead of {count}"
        for emotion in facts.emotions
        if in_table[emotion] != (count := facts.published[name].get(emotion, 0))
    ]:
        why = [f"{part} was not found" for part in copy.lacking]
        why += [f"{unread} rows cannot be read"] if unread else []
        sentences.append(
            f"Rows against {name}: {', '.join(others)}; "
            + (", ".join(why) or "so the table was changed or is another one")
            + "."
        )
    # Emotions that differ for the same reason share a sentence.
    reasons = collections.defaultdict(list)
    for emotion, count in facts.paper.items():
        if recorded[emotion] == count:
            continue
        why, expected = [], facts.published[name].get(emotion, 0)
        if expected != count:
            remarks = facts.remarks.get(name, {})
            why.append(remarks.get(emotion, f"{name} has {expected}"))
        if in_table[emotion] != expected:
            why.append(f"{in_table[emotion]} rows of it can be read")
        if lost := in_table[emotion] - recorded[emotion]:
            why.append(f"of its rows {lost} cannot become a record")
        reasons["; ".join(why)].append(
            f"{emotion} has {recorded[emotion]} records, {count} in the paper"
        )
    sentences += [f"{', '.join(counts)}: {why}." for why, counts in reasons.items()]
    return {name: dict(facts.published[name])}, sentences


def describe(report: Report) -> str:
    """The report as text."""
    (published, counts), *_ = [*report.published.items(), ("none", {})]
    lines = [
        f"{report.data_set} in {report.manual_dir}",
        f"table    {report.table}",
        f"release  {report.release}",
        f"crop     {report.crop}",
        *(f"note     {note}" for note in report.choice),
        "",
        f"{report.rows} expressions, of which {report.records} can become a record; "
        f"{report.frames_read} frames were read.",
    ]
    if report.not_asked_for:
        lines.append(f"{report.not_asked_for} more were not asked for.")
    lines += [
        "",
        f"{'emotion':12}{'rows':>8}{'records':>9}{'published':>11}{'paper':>7}",
    ]
    for emotion, found in report.emotions.items():
        there = counts.get(emotion, "") if counts else ""
        paper = report.paper.get(emotion, "")
        lines.append(
            f"{emotion:12}{found['rows']:8}{found['records']:9}{there:>11}{paper:>7}"
        )
    if counts:
        lines.append(f"(published: {published})")
    lines += [f"- {sentence}" for sentence in report.differences]
    by_subject = ", ".join(f"{name} {n}" for name, n in report.subjects.items())
    lines += ["", f"{len(report.subjects)} subjects: {by_subject}"]
    if report.lengths:
        found = report.lengths
        lines.append(
            f"onset to offset: {found['least']} to {found['most']} frames, median "
            f"{found['median']:g}; {found['short']} have fewer than {_SHORT}"
        )
    for title, entries in (
        ("cannot become a record", [_line(e) for e in report.no_record]),
        ("images that cannot be read", _by_folder(report.unreadable)),
        ("frames without a row", [_line(e) for e in report.no_row]),
    ):
        number = len(report.unreadable) if "images" in title else len(entries)
        lines += ["", f"{title}: {number or 'none'}"]
        lines += [f"  {entry}" for entry in entries]
    for kind, entries in report.noted.items():
        lines += ["", f"{kind}: {len(entries)}"]
        lines += [f"  {entry}" for entry in entries[:_SHOWN]]
        if len(entries) > _SHOWN:
            lines.append(f"  and {len(entries) - _SHOWN} more; --json lists all")
    verdict = "Every row can become a record and every image can be read."
    if not report.whole:
        verdict = (
            f"Not whole: {len(report.no_record)} rows cannot become a record, "
            f"{len(report.unreadable)} images cannot be read"
            + f", {', '.join(report.lacking)} not found" * bool(report.lacking)
            + "."
        )
    return "\n".join([*lines, "", verdict])


def _line(entry: Mapping) -> str:
    """An entry of ``no_record`` or ``no_row`` for people."""
    place = f"{entry['subject']}/{entry['clip']}: {entry['reason']}"
    if entry["row"] is None:
        return place
    return f"row {entry['row']} of {entry['table']}, {place}"


def _by_folder(unreadable: Mapping[str, str]) -> list[str]:
    """The images of each folder as one line; a damaged clip may have a hundred."""
    folders = collections.defaultdict(list)
    for path, reason in unreadable.items():
        folders[Path(path).parent].append((Path(path).name, reason))
    return [
        f"{folder / files[0][0]}: {files[0][1]}"
        + f"; and {len(files) - 1} more of this folder" * (len(files) > 1)
        for folder, files in folders.items()
    ]


def main(
    name: tyro.conf.Positional[str],
    /,
    manual_dir: Path,
    json: bool = False,
    sheet: Path | None = None,
    workers: int | None = None,
    clip: tyro.conf.OmitArgPrefixes[prepare.Options] = prepare.Options(),  # noqa: B008
) -> int:
    """Read a licensed copy, write nothing, and report what is in it.

    Ends with code 0 only if every row can become a record.

    Args:
      name: casme, casme2, cas_me_2 or your own of such a layout.
      manual_dir: folder of your licensed copy.
      json: print the report for programs.
      sheet: draw onset, apex and offset of some clips of each emotion into this file.
      workers: threads that read (default: one a core).
      clip: how it would be prepared; each is the data set's own unless given.
    """
    if sheet is not None:
        check_path(sheet)
    shown = None if sheet is None else Sheet()
    report = check(
        name, manual_dir.expanduser(), options=clip, sheet=shown, workers=workers
    )
    print(_as_json(report) if json else describe(report), flush=True)
    if shown is not None:
        picture = shown.draw()
        if picture is None:
            print("There is no clip to show; no sheet was drawn.", file=sys.stderr)
        else:
            picture.save(sheet)
    return 0 if report.whole else 1


def _as_json(report: Report) -> str:
    return json.dumps({"whole": report.whole} | dataclasses.asdict(report), indent=2)


if __name__ == "__main__":
    try:
        sys.exit(tyro.cli(main, prog="python -m datasets.check", use_underscores=True))
    except (DataError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
