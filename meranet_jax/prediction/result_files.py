"""The files of a recording that need no recogniser: tables, projects and the report."""

from pathlib import Path

from meranet_jax.prediction import report_text, timeline
from meranet_jax.prediction.exports import boris, elan, json_file, tables
from meranet_jax.prediction.results import Prediction


def write(prediction: Prediction, folder: Path, name: str) -> None:
    """Writes all files of a prediction but the pictures of candidates.

    Args:
      prediction: of the recording.
      folder: of the files.
      name: of the recording, for the files that other programs open.

    Raises:
      OSError: if a file cannot be written.
    """
    tables.write_events_csv(prediction, folder / "events.csv")
    json_file.write(prediction, folder / "events.json")
    tables.write_frames_csv(prediction, folder / "frames.csv")
    tables.write_bids(prediction, folder / f"{name}_events.tsv")
    tables.write_megc(prediction, folder / "megc.csv")
    boris.write(prediction, folder / f"{name}.boris")
    elan.write(prediction, folder / f"{name}.eaf")
    timeline.write(prediction, folder / report_text.TIMELINE)
    report_text.write(prediction, folder / "report.md")
