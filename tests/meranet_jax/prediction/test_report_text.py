"""Reports of recordings, and the words in them."""

import dataclasses
import re

import numpy as np

from meranet_jax.prediction import report_text
from tests.meranet_jax.prediction.predictions import (
    RECOGNISER,
    event,
    face,
    prediction,
    recognised,
)


def table(report, heading):
    """Rows of the first table below a heading, by column."""
    lines = report.split(f"## {heading}\n", 1)[1].splitlines()
    lines = [line for line in lines if line.startswith("|")]
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines
    ]
    width = len(cells[0])
    rows = [row for row in cells[2:] if len(row) == width]
    return [dict(zip(cells[0], row, strict=True)) for row in rows]


def test_candidates_have_times_frames_and_careful_words(tmp_path):
    report_text.write(prediction(), tmp_path / "report.md")
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    first, second, third = table(report, "Candidates")[:3]
    assert first["onset"] == "0.400 s (frame 13)"
    assert first["duration"] == "0.300 s" and first["flags"] == "blink"
    assert first["result"] == (
        "resembles clips labelled disgust in CASME II (probability 0.70)"
    )
    assert second["result"] == "no answer"
    assert third["result"] == "not classified: longer than 0.5 s"
    assert "several classes are plausible: candidate 2" in report
    assert "Most candidates in recordings of people are **not micro-expr" in report
    assert "F1 of 0.01 to 0.25" in report
    assert "the left brow is the right one of a person" in report
    for words in ("121 frames in 4.0 s, 30.00 frames per second", "1 face was found"):
        assert words in report
    for words in ("trained at 200 Hz", "26 people in one laboratory", "90%", "88%"):
        assert words in report
    for words in ("Art. 5(1)(f)", "Art. 50(3)", "docs/video.md"):
        assert words in report
    assert not re.search(r"\b(feels?|hides?|hidden|lies|lying|true)\b", report)


def test_problems_of_faces():
    times = prediction().times
    seen = times < 1.99
    two = face(2, times, seen=seen, problems=("too small", "shaking"))
    made = prediction(faces=[face(1, times), dataclasses.replace(two, eye_distance=17)])
    one, other = table(report_text.describe(made), "Faces")
    assert one["seen in"] == "100% of the frames" and one["candidates"] == "3"
    assert one["problems"] == "none"
    assert other["seen in"] == f"{seen.mean():.0%} of the frames"
    assert other["last seen"] == "1.967 s (frame 60)"
    assert other["between the eyes"] == "17 pixels"
    assert other["problems"] == "too small, shaking"
    assert table(report_text.describe(made), "Candidates")[0]["face"] == "1"


def test_nothing_found_and_nothing_asked():
    report = report_text.describe(
        prediction((), faces=(), recogniser=None, frame_rate=None, notes=())
    )
    assert "No candidate was found. This does not show" in report
    assert "No face was found" in report and "no recogniser was used" in report
    assert "frame rate is not known" in report and "## Notes" not in report


def test_run_without_calibration():
    found = recognised(0.7, 0.2, 0.1, plausible=None)
    recogniser = dataclasses.replace(RECOGNISER, coverage=None, observed_coverage=None)
    report = report_text.describe(
        prediction([event(1, 0.4, 0.5, 0.7, recognition=found)], recogniser=recogniser)
    )
    assert "contain the class of a new person" not in report
    assert "plausible" not in table(report, "Candidates")[0]


def test_text_of_the_user_is_not_markdown():
    made = prediction(
        [event(1, 0.4, 0.5, 0.7, origin="imported", label="a|b\n# <b>[x](y)*")],
        source=prediction().source.with_name("_a_.mp4"),
        numbers=np.arange(1, 61),
        times=prediction().times[:60],
        faces=(),
    )
    report = report_text.describe(made)
    assert r"in \_a\_.mp4" in report
    (row,) = table(report, "Candidates")
    assert row["label"] == r"a\|b \# \<b\>\[x\](y)\*"
    assert row["type"] == "imported micro interval"
    assert "60 frames of these were analysed" in report
    assert "read from a file (--events)" in report


def test_only_pictures_that_exist_have_links(tmp_path):
    (tmp_path / "candidates").mkdir()
    (tmp_path / "candidates" / "0002.png").touch()
    report = report_text.describe(prediction(), tmp_path)
    first, second, _ = table(report, "Candidates")
    assert first["pictures"] == ""
    assert second["pictures"] == "[frames](candidates/0002.png)"
    assert "timeline.png" not in report
    assert "pictures" not in table(report_text.describe(prediction()), "Candidates")[0]


def test_predictions_are_printed_in_a_few_lines():
    made = prediction()
    assert str(made).splitlines()[:2] == [
        "clip.mp4: 3 candidates, 1 with an answer; most candidates are not "
        "micro-expressions",
        "    1  0.400 s (frame 13) to 0.700 s (frame 22)  micro candidate  resembles "
        "clips labelled disgust in CASME II (probability 0.70)  [blink]",
    ]
    assert len(str(made).splitlines()) == 4 + len(made.notes)
    assert str(made.events[2]) == (
        "3  2.400 s (frame 73) to 3.600 s (frame 109), face 1  macro candidate"
    )
    assert repr([made]).startswith("[<Prediction of clip.mp4: 3 candidates, ")
    assert "signals" not in repr(made.faces[0])
    assert "121 frames" in repr(made.faces[0].signals)
    assert all(len(repr(one)) < 600 for one in (made, *made.faces, *made.events))
