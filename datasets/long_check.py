"""Checks long recordings: ``python -m datasets.check NAME --long --manual_dir=DIR``.

It lists the frames of every recording, decodes the first and the last one, and compares
the intervals of the table with them. It writes nothing.
"""

import collections
import dataclasses
import functools
import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from datasets import prepare
from datasets.parallel import parallel_map
from datasets.source.long_copy import Finding, LongCopy, open_long_recordings
from datasets.source.long_findings import Examined, examine
from datasets.source.long_recordings import TYPES, LongRecordings
from meranet_jax.errors import DataError

# Data sets with long recordings: NAME/long_recordings.py.
NAMES = tuple(
    sorted(
        path.parent.name
        for path in Path(__file__).parent.glob("*/long_recordings.py")
        if path.parent.name != "source"
    )
)

# Options that select the source; all others are about clips.
_OPTIONS = ("table", "release")

# Number of findings of each kind that are printed; the JSON report has all.
_MAX_FINDINGS = 5


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings of a check of long recordings; ``--json`` prints them.

    Attributes:
      data_set: name of the data set.
      manual_dir: folder of the copy.
      table: the tables that were read, as text.
      release: the release that was read, as text.
      choice: notes for the user on the choice of table and release.
      remarks: sentences on the data set.
      missing_tables: names of parts of the table that were not found.
      recordings: number of recordings whose frames can be listed.
      labelled: number of these with an interval.
      published_recordings: published number of recordings, None if it is unknown.
      published_labelled: published number of labelled ones, None if it is unknown.
      subjects: number of recordings by subject.
      intervals: number of intervals in these recordings by type and emotion; the
        emotion is empty if the table has none.
      published: published number of intervals by type.
      published_emotions: published number of intervals by type and emotion.
      without_apex: number of intervals without an apex in the table.
      frames: number of frames of a recording: ``least``, ``median``, ``most`` and
        ``all``.
      seconds: its length in seconds, the same; None if a frame rate is unknown.
      lengths: number of frames from onset to offset by type: ``least``, ``median`` and
        ``most``.
      frames_read: number of images that were decoded.
      problems: what is missing or cannot be read or used, by kind.
      noted: what is unusual, by kind.
      differences: a sentence on each difference from the published numbers.
      fewer: whether one of these numbers is smaller than the published one.
    """

    data_set: str
    manual_dir: str
    table: str
    release: str
    choice: list[str]
    remarks: list[str]
    missing_tables: list[str]
    recordings: int
    labelled: int
    published_recordings: int | None
    published_labelled: int | None
    subjects: dict[str, int]
    intervals: dict[str, dict[str, int]]
    published: dict[str, int]
    published_emotions: dict[str, dict[str, int]]
    without_apex: int
    frames: dict[str, float] | None
    seconds: dict[str, float] | None
    lengths: dict[str, dict[str, float]]
    frames_read: int
    problems: dict[str, list[str]]
    noted: dict[str, list[str]]
    differences: list[str]
    fewer: bool

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and everything can be read."""
        return not (self.problems or self.missing_tables or self.fewer)

    def to_json(self) -> str:
        """Returns the report as JSON."""
        report = {"whole": self.complete} | dataclasses.asdict(self)
        return json.dumps(report, indent=2)


def specification_of(name: str) -> LongRecordings:
    """Returns the specification of the long recordings of a data set.

    Raises:
      DataError: if it has none.
    """
    if name not in NAMES:
        raise DataError(
            f"{name} has no long recordings that can be checked: --long is for "
            f"{', '.join(NAMES)}. Leave out --long to check its clips."
        )
    module = importlib.import_module(f"datasets.{name}.long_recordings")
    return module.LONG_RECORDINGS


def check(
    name: str,
    manual_dir: Path,
    *,
    options: prepare.Options = prepare.Options(),  # noqa: B008 (it is frozen)
    workers: int | None = None,
) -> Report:
    """Reads the long recordings of a licensed copy and reports them.

    Args:
      name: name of a data set with long recordings.
      manual_dir: folder of the copy.
      options: only ``table`` and ``release`` may be set.
      workers: number of threads that decode frames; None uses one per core.

    Raises:
      DataError: if the data set has no long recordings, an option is about clips, or
        the table or the recordings are missing.
    """
    long = specification_of(name)
    of_clips = [n for n in options.overrides() if n not in _OPTIONS]
    if of_clips:
        raise DataError(
            f"--{', --'.join(of_clips)} cannot be combined with --long, which makes no "
            f"clips. Leave it out; only --{' and --'.join(_OPTIONS)} apply."
        )
    prepare.check_manual_dir(name, manual_dir, long.instructions)
    copy = open_long_recordings(
        long,
        Path(manual_dir),
        table=tuple(options.table),
        release=options.release,
        others=prepare.other_specifications(name),
    )
    examined = track(
        parallel_map(functools.partial(examine, long), copy.recordings, workers),
        description="Reading recordings",
        total=len(copy.recordings),
        console=Console(stderr=True),
    )
    return _report(name, long, copy, list(examined))


def _report(
    name: str, long: LongRecordings, copy: LongCopy, examined: Sequence[Examined]
) -> Report:
    listed = [one for one in examined if one.frames]
    recordings = [one.recording for one in listed]
    intervals = [i for recording in recordings for i in recording.intervals]
    counts = {kind: collections.Counter() for kind in TYPES}
    lengths = collections.defaultdict(list)
    for interval in intervals:
        counts[interval.kind][interval.emotion] += 1
        if interval.offset is not None:
            lengths[interval.kind].append(interval.offset - interval.onset + 1)
    labelled = sum(bool(recording.intervals) for recording in recordings)
    compared = [
        ("recordings", len(recordings), long.recordings),
        ("recordings with an interval", labelled, long.labelled),
    ]
    for kind, count in long.published.items():
        compared.append((f"{kind}-expressions", counts[kind].total(), count))
        for emotion, of_emotion in long.published_emotions.get(kind, {}).items():
            of = f"{kind}-expressions with the emotion {emotion}"
            compared.append((of, counts[kind][emotion], of_emotion))
    differing = [one for one in compared if one[2] not in (None, one[1])]
    numbers = [one.frames for one in listed]
    seconds = [one.seconds for one in listed if one.seconds is not None]
    return Report(
        data_set=name,
        manual_dir=str(copy.manual_dir),
        table=copy.table,
        release=copy.release,
        choice=list(copy.choice),
        remarks=list(copy.remarks),
        missing_tables=list(copy.missing_tables),
        recordings=len(recordings),
        labelled=labelled,
        published_recordings=long.recordings,
        published_labelled=long.labelled,
        subjects=dict(
            sorted(collections.Counter(r.subject for r in recordings).items())
        ),
        intervals={
            kind: dict(sorted(found.items())) for kind, found in counts.items() if found
        },
        published=dict(long.published),
        published_emotions={k: dict(n) for k, n in long.published_emotions.items()},
        without_apex=sum(interval.apex is None for interval in intervals),
        frames=_spread(numbers) | {"all": sum(numbers)} if numbers else None,
        seconds=_spread(seconds) | {"all": sum(seconds)}
        if seconds and len(seconds) == len(numbers)
        else None,
        lengths={kind: _spread(found) for kind, found in sorted(lengths.items())},
        frames_read=sum(one.frames_read for one in examined),
        problems=_by_kind(
            [*copy.problems, *(p for one in examined for p in one.problems)]
        ),
        noted=_by_kind([*copy.notes, *(n for one in examined for n in one.notes)]),
        differences=[
            f"{what}: {found} instead of {count}" for what, found, count in differing
        ],
        fewer=any(found < count for _, found, count in differing),
    )


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "least": min(values),
        "median": float(np.median(values)),
        "most": max(values),
    }


def _by_kind(findings: Iterable[Finding]) -> dict[str, list[str]]:
    by_kind = collections.defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(f"{finding.place}: {finding.text}")
    return dict(sorted(by_kind.items()))


def describe(report: Report) -> str:
    """Returns the report as text."""
    lines = [
        f"long recordings of {report.data_set} in {report.manual_dir}",
        f"table    {report.table}",
        f"release  {report.release}",
        *(f"note     {note}" for note in (*report.choice, *report.remarks)),
        "",
        f"{report.recordings} recordings of {len(report.subjects)} subjects"
        + _published(report.published_recordings)
        + f", {report.labelled} with an interval"
        + _published(report.published_labelled)
        + f"; {report.frames_read} frames were read.",
    ]
    if report.frames:
        lines.append(f"length: {_range(report.frames)} frames")
    if report.seconds:
        lines.append(
            f"length: {_range(report.seconds)} s, {report.seconds['all'] / 60:.1f} min "
            "in total"
        )
    lines += ["", f"{'type':8}{'emotion':12}{'intervals':>11}{'published':>11}"]
    kinds = [kind for kind in TYPES if kind in report.intervals | report.published]
    for kind in kinds:
        found = report.intervals.get(kind, {})
        total, published = sum(found.values()), report.published.get(kind, "")
        lines.append(f"{kind:8}{'all':12}{total:11}{published:>11}")
        of_emotions = report.published_emotions.get(kind, {})
        for emotion in sorted((found | of_emotions).keys() - {""}):
            published = of_emotions.get(emotion, "")
            count = found.get(emotion, 0)
            lines.append(f"{'':8}{emotion:12}{count:11}{published:>11}")
    for kind, spread in report.lengths.items():
        lines.append(f"{kind}: onset to offset is {_range(spread)} frames")
    if report.without_apex:
        lines.append(f"{report.without_apex} intervals have no apex in the table")
    lines += [f"- {sentence}" for sentence in report.differences]
    lines += ["", f"problems: {sum(map(len, report.problems.values())) or 'none'}"]
    lines += _findings(report.problems)
    lines += _findings(report.noted)
    verdict = "Every interval has its recording, and nothing is missing."
    if not report.complete:
        parts = [f"{len(found)} {kind}" for kind, found in report.problems.items()]
        parts += [f"{part} not found" for part in report.missing_tables]
        parts += ["fewer than published"] if report.fewer else []
        verdict = f"Incomplete: {', '.join(parts)}."
    return "\n".join([*lines, "", verdict])


def _published(count: int | None) -> str:
    return "" if count is None else f" (published: {count})"


def _range(spread: Mapping[str, float]) -> str:
    return (
        f"{spread['least']:.5g} to {spread['most']:.5g}, median {spread['median']:.4g}"
    )


def _findings(by_kind: Mapping[str, Sequence[str]]) -> list[str]:
    lines = []
    for kind, entries in by_kind.items():
        lines += ["", f"{kind}: {len(entries)}"]
        lines += [f"  {entry}" for entry in entries[:_MAX_FINDINGS]]
        if len(entries) > _MAX_FINDINGS:
            lines.append(f"  and {len(entries) - _MAX_FINDINGS} more; --json lists all")
    return lines
