"""The table of ``reproduce.py spotting``, and its file with a row per recording."""

import collections
import csv
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from meranet_jax import files
from meranet_jax.analysis import markdown
from meranet_jax.errors import UserError
from meranet_jax.evaluation.spotting import LEAST_OVERLAP, SpottingCounts
from meranet_jax.prediction.spotting_score import Score, ScoredRecording
from meranet_jax.video.measurement import RATE

_COUNTED = ("true", "found", "matched")
_KINDS = ("micro", "unflagged", "macro")
_ANSWERS = ("right", "no_answer", "wrong")

# Share of the frames below which a note names the recording
_FEW = 0.9

# Columns of the file
_COLUMNS = (
    *("group", "recording", "settings", "version"),
    *("frames", "analysed", "minutes", "faces", "seconds"),
    *(f"{kind}_{what}" for kind in _KINDS for what in _COUNTED),
    *_ANSWERS,
    "classes",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A recording in the file.

    Attributes:
      group: name of its set, or of its data set.
      recording: its name within the group.
      settings: digest of all that the result depends on.
      version: of the package.
      seconds: that the work took.
      scored: the result.
    """

    group: str
    recording: str
    settings: str
    version: str
    seconds: float
    scored: ScoredRecording

    @property
    def key(self) -> tuple[str, str]:
        """Group and recording, of which the file has one row."""
        return self.group, self.recording


def read(path: Path) -> dict[tuple[str, str], Row]:
    """Reads the rows of a file by their keys; there are none without a file.

    Raises:
      UserError: if it is not such a file.
    """
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != _COLUMNS:
                raise ValueError(f"its columns are {reader.fieldnames}")
            rows = [_parse(line) for line in reader]
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read: {error}. It was edited, or another version wrote "
            "it. Delete it, or choose another --results_dir."
        ) from error
    return {row.key: row for row in rows}


def write(path: Path, rows: Mapping[tuple[str, str], Row]) -> None:
    """Writes the file atomically."""
    with files.atomic_write(path) as part:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            writer.writerows(_cells(row) for row in rows.values())


def _cells(row: Row) -> list[object]:
    scored = row.scored
    counts = [
        getattr(getattr(scored.score, kind), what)
        for kind in _KINDS
        for what in _COUNTED
    ]
    classes = [[*pair, number] for pair, number in sorted(scored.score.pairs.items())]
    return [
        *(row.group, row.recording, row.settings, row.version),
        *(scored.frames, scored.analysed, scored.score.micro.minutes, scored.faces),
        round(row.seconds, 1),
        *counts,
        *(getattr(scored.score, name) for name in _ANSWERS),
        json.dumps(classes),
    ]


def _parse(line: Mapping[str, str]) -> Row:
    minutes = float(line["minutes"])
    counts = {
        kind: SpottingCounts(
            *(int(line[f"{kind}_{what}"]) for what in _COUNTED), minutes
        )
        for kind in _KINDS
    }
    pairs = collections.Counter(
        {(true, predicted): n for true, predicted, n in json.loads(line["classes"])}
    )
    answers = {name: int(line[name]) for name in _ANSWERS}
    return Row(
        group=line["group"],
        recording=line["recording"],
        settings=line["settings"],
        version=line["version"],
        seconds=float(line["seconds"]),
        scored=ScoredRecording(
            Score(**counts, **answers, pairs=pairs),
            int(line["frames"]),
            int(line["analysed"]),
            int(line["faces"]),
        ),
    )


def text(
    rows: Sequence[Row],
    titles: Mapping[str, str],
    recogniser: str | None,
    notes: Sequence[str] = (),
) -> str:
    """Returns the table in Markdown.

    Args:
      rows: of the recordings.
      titles: what each group is, by its name.
      recogniser: which recogniser answered; None if only spotting was scored.
      notes: sentences on the recordings.
    """
    totals: dict[str, Score] = {}
    for row in rows:
        totals[row.group] = totals.get(row.group, Score()) + row.scored.score
    spotted, recognised = [], []
    for group, score in totals.items():
        number = sum(row.group == group for row in rows)
        of_kinds = {"micro": score.micro, "micro without a flag": score.unflagged}
        if score.macro.true:
            of_kinds["macro"] = score.macro
            both = score.micro + score.macro
            of_kinds["micro and macro"] = dataclasses.replace(
                both, minutes=score.micro.minutes
            )
        for name, counts in of_kinds.items():
            spotted.append([group, number, name, *_spotting_cells(counts)])
        if score.recognised:
            recognised.append([group, *_recognition_cells(score)])
    parts = [
        "# Spotting",
        markdown.table(
            ("set", "recordings", "candidates", "minutes", "expressions", "found")
            + ("matched", "precision", "recall", "F1", "false alarms a minute"),
            spotted,
        ),
        "A candidate matches an expression if their intersection over union, in frames "
        f"with both ends included, is at least {LEAST_OVERLAP:g}; each matches one "
        "other at most. Counts are pooled over the recordings of a set. A micro "
        "candidate takes at most 0.5 s.",
    ]
    if recognised:
        parts += [
            "## Recognition of matched micro candidates",
            markdown.table(
                ("set", "candidates", "right", "no answer", "wrong")
                + ("F1 of the most probable class", "STRS"),
                recognised,
            ),
            f"Recogniser: {recogniser}. STRS is the product of the F1 of all micro "
            "candidates and of the unweighted F1 of the most probable class, whether "
            "or not the recogniser abstains.",
        ]
    parts.append("\n".join(f"- {group}: {titles[group]}" for group in totals))
    notes = [*notes, *_notes(rows)]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yields what makes the numbers of recordings unreliable."""
    unseen = [f"{row.group}, {row.recording}" for row in rows if not row.scored.faces]
    if unseen:
        yield f"No face was found in: {'; '.join(unseen)}."
    few = []
    for row in rows:
        scored = row.scored
        usual = min(scored.frames, scored.score.micro.minutes * 60 * RATE)
        if scored.analysed < _FEW * usual:
            few.append(f"{row.group}, {row.recording} ({scored.analysed})")
    if few:
        yield (
            f"Fewer frames could be analysed than {RATE:g} a second, since files are "
            f"damaged or missing: {'; '.join(few)}."
        )


def _spotting_cells(counts: SpottingCounts) -> list[object]:
    # Without expressions, the metrics are not defined.
    scores = (counts.precision, counts.recall, counts.f1) if counts.true else ()
    return [
        f"{counts.minutes:.2f}",
        counts.true,
        counts.found,
        counts.matched,
        *([f"{value:.3f}" for value in scores] or ["", "", ""]),
        f"{counts.false_alarms_per_minute:.2f}",
    ]


def _recognition_cells(score: Score) -> list[object]:
    shares = [
        f"{number / score.recognised:.3f} ({number})"
        for number in (score.right, score.no_answer, score.wrong)
    ]
    return [
        score.recognised,
        *shares,
        f"{score.recognition_f1:.3f}",
        f"{score.strs:.3f}",
    ]
