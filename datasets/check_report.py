"""The report of ``datasets.check``, as JSON and as text."""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.few_lines import few_of_each
from datasets.source.annotations import entry_label

# The paper's recipe excludes expressions of CASME and CASME II with fewer frames.
SHORT = 16

# Number of notes of each kind that are printed; the JSON report has all.
_MAX_NOTES = 5

# Keys of the JSON report that differ from the attributes of Report. Programs may read
# them, so they must not change.
_JSON_KEYS = {
    "notes": "choice",
    "missing_tables": "lacking",
    "not_selected": "not_asked_for",
    "rows_without_record": "no_record",
    "frames_without_row": "no_row",
    "notes_by_kind": "noted",
    "published_counts": "published",
    "paper_counts": "paper",
}


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings of a check; ``--json`` prints them.

    Attributes:
      data_set: name of the data set and its configuration.
      manual_dir: folder of the copy.
      table: the tables that were read, as text.
      release: the release that was read, as text.
      crop: source of the face crops: ``provided``, ``detect`` or ``none``.
      notes: notes for the user on the choice of table and release.
      missing_tables: names of parts of the table that were not found.
      rows: number of selected expressions in the tables.
      records: number of these that can become a record.
      not_selected: number of expressions that the configuration does not select.
      emotions: number of rows and of records by emotion.
      subjects: number of records by subject.
      lengths: number of frames from onset to offset: ``least``, ``median``, ``most``;
        and ``short``, the number of records with fewer than 16. None if there is no
        record.
      frames_read: number of images that were decoded.
      rows_without_record: rows that cannot become a record, with the reason.
      unreadable: reasons why images and videos cannot be read, by path.
      frames_without_row: folders and videos without a row in the table.
      notes_by_kind: notes on unusual records, by kind.
      published_counts: the published counts nearest to the rows, by name and emotion.
      paper_counts: the paper's counts by emotion.
      differences: a sentence on each difference from these counts.
      megc2019: for a data set of the composite data set of MEGC 2019, the number of
        records that are in it, by class (``counts``), the number in the publication
        (``published``), both as text (``summary``), and the ids of the other records by
        the reason (``left_out``). None for other data sets.
      of_folders: whether the rows were made of folders, since there is no table.
      without_apexes: a sentence on each table that gives no apex, although the tables
        of the data set do; empty if ``--apex`` asks for estimates.
    """

    data_set: str
    manual_dir: str
    table: str
    release: str
    crop: str
    notes: list[str]
    missing_tables: list[str]
    rows: int
    records: int
    not_selected: int
    emotions: dict[str, dict[str, int]]
    subjects: dict[str, int]
    lengths: dict[str, float] | None
    frames_read: int
    rows_without_record: list[dict]
    unreadable: dict[str, str]
    frames_without_row: list[dict]
    notes_by_kind: dict[str, list[str]]
    published_counts: dict[str, dict[str, int]]
    paper_counts: dict[str, int]
    differences: list[str]
    megc2019: dict | None = None
    of_folders: bool = False
    without_apexes: list[str] = dataclasses.field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and all rows and images can be read."""
        return not (
            self.rows_without_record
            or self.unreadable
            or self.missing_tables
            or self.without_apexes
        )

    def to_json(self) -> str:
        """Returns the report as JSON."""
        fields = dataclasses.asdict(self).items()
        report = {_JSON_KEYS.get(name, name): value for name, value in fields}
        return json.dumps({"whole": self.complete} | report, indent=2)


def describe(report: Report) -> str:
    """Returns the report as text."""
    (published, counts), *_ = [*report.published_counts.items(), ("none", {})]
    width = max(12, *(len(emotion) + 1 for emotion in report.emotions))
    lines = [
        f"{report.data_set} in {report.manual_dir}",
        f"table    {report.table}",
        f"release  {report.release}",
        f"crop     {report.crop}",
        *(f"note     {note}" for note in report.notes),
        "",
        f"{report.records} of {report.rows} expressions can become a record; "
        f"{report.frames_read} frames were read.",
    ]
    if report.not_selected:
        lines.append(f"{report.not_selected} other expressions were not selected.")
    lines += [
        "",
        f"{'emotion':{width}}{'rows':>8}{'records':>9}{'published':>11}{'paper':>7}",
    ]
    for emotion, found in report.emotions.items():
        count = counts.get(emotion, "") if counts else ""
        paper = report.paper_counts.get(emotion, "")
        lines.append(
            f"{emotion:{width}}{found['rows']:8}{found['records']:9}{count:>11}{paper:>7}"
        )
    if counts:
        lines.append(f"(published: {published})")
    lines += [f"- {sentence}" for sentence in report.differences]
    if report.megc2019 is not None:
        lines += ["", f"--classes=megc3: {report.megc2019['summary']}"]
        for reason, clips in report.megc2019["left_out"].items():
            shown = ", ".join(clips[:_MAX_NOTES])
            if len(clips) > _MAX_NOTES:
                shown += f" and {len(clips) - _MAX_NOTES} more; --json lists all"
            lines.append(f"  left out: {len(clips)} ({reason}): {shown}")
    by_subject = ", ".join(f"{name} {n}" for name, n in report.subjects.items())
    lines += ["", f"{len(report.subjects)} subjects: {by_subject}"]
    if report.lengths:
        found = report.lengths
        lines.append(
            f"onset to offset: {found['least']} to {found['most']} frames, median "
            f"{found['median']:g}; {found['short']} have fewer than {SHORT}"
        )
    for title, number, entries in (
        (
            "cannot become a record",
            len(report.rows_without_record),
            _lines(report, report.rows_without_record),
        ),
        (
            "images that cannot be read",
            len(report.unreadable),
            _by_folder(report.unreadable),
        ),
        (
            "frames without a row",
            len(report.frames_without_row),
            _lines(report, report.frames_without_row),
        ),
    ):
        lines += ["", f"{title}: {number or 'none'}"]
        lines += [f"  {entry}" for entry in entries]
    for kind, entries in report.notes_by_kind.items():
        lines += ["", f"{kind}: {len(entries)}"]
        lines += [f"  {entry}" for entry in entries[:_MAX_NOTES]]
        if len(entries) > _MAX_NOTES:
            lines.append(f"  and {len(entries) - _MAX_NOTES} more; --json lists all")
    verdict = "Every row can become a record and every image can be read."
    without_row = sum("no row" in one["reason"] for one in report.frames_without_row)
    if without_row:
        verdict += f" Folders or videos without a row: {without_row}."
    if not report.complete:
        missing = ", ".join(report.missing_tables)
        verdict = (
            f"Incomplete: {len(report.rows_without_record)} rows cannot become a "
            f"record, {len(report.unreadable)} images cannot be read"
            + f", {missing} not found" * bool(missing)
            + ", the apexes are lost" * bool(report.without_apexes)
            + "."
        )
        for sentence in report.without_apexes:
            verdict += (
                f"\n{sentence}. --apex=middle or --apex=spotted accepts estimates."
            )
    return "\n".join([*lines, "", verdict])


def _lines(report: Report, entries: Sequence[Mapping]) -> list[str]:
    """Formats the entries of ``rows_without_record`` or ``frames_without_row``.

    Of those with the same reason, some are shown.
    """
    lines = []
    for entry in entries:
        line = f"{entry['subject']}/{entry['clip']}: {entry['reason']}"
        if entry["row"] is not None:
            label = entry_label(entry["row"], entry["table"], report.of_folders)
            line = f"{label}, {line}"
        lines.append((line, entry["reason"]))
    return [line for line, _ in few_of_each(lines, _MAX_NOTES, "--json lists all")]


def _by_folder(unreadable: Mapping[str, str]) -> list[str]:
    """Formats one line for each folder, since a damaged clip may have 100 images."""
    folders = collections.defaultdict(list)
    for path, reason in unreadable.items():
        folders[Path(path).parent].append((Path(path).name, reason))
    lines = [
        (
            f"{folder / files[0][0]}: {files[0][1]}"
            + f"; and {len(files) - 1} more in this folder" * (len(files) > 1),
            files[0][1],
        )
        for folder, files in folders.items()
    ]
    where = "each is of a folder or a video, and --json lists all"
    return [line for line, _ in few_of_each(lines, _MAX_NOTES, where)]
