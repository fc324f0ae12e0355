"""Tables of predictions, read back as other programs read them."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from meranet_jax.prediction.exports import cells, json_file, tables
from tests.meranet_jax.prediction.predictions import (
    NAMES,
    event,
    face,
    prediction,
    recognised,
)


def rows(path, delimiter=","):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter, strict=True))


def test_events_have_times_frames_and_what_they_resemble(tmp_path):
    path = tmp_path / "events.csv"
    tables.write_events_csv(prediction(), path)
    assert path.read_bytes().count(b"\r\n") == 4
    first, second, third = rows(path)
    expected = {
        **{"number": "1", "face": "1", "origin": "spotted", "type": "micro"},
        **{"onset": "0.4000", "apex": "0.5000", "offset": "0.7000"},
        **{"onset_frame": "13", "apex_frame": "16", "offset_frame": "22"},
        **{"duration": "0.3000", "strength": "0.04210", "noise": "0.00120"},
        **{"regions": "brow_left_inner; mouth_corner_left", "flags": "blink"},
        **{"clip_frames": "16", "distinct_frames": "12", "head_speed": "0.05000"},
        **{"p_disgust": "0.7000", "p_happiness": "0.2000", "p_surprise": "0.1000"},
        **{"answer": "disgust", "plausible": "disgust; surprise", "reasons": ""},
        "label": "",
    }
    assert first == expected
    assert second["answer"] == "" and second["p_disgust"] == "0.4000"
    assert second["reasons"] == "several classes are plausible"
    assert third["type"] == "macro" and third["p_disgust"] == third["answer"] == ""


@pytest.mark.parametrize(
    "label", ["=1+1", "+1", "-1", "@A1", "\t=1", "'=1", 'a "b", c\nd', "smile"]
)
def test_labels_are_no_formulas_and_are_restored(label, tmp_path):
    path = tmp_path / "events.csv"
    made = event(1, 0.4, 0.5, 0.7, origin="imported", label=label)
    tables.write_events_csv(prediction([made]), path)
    (row,) = rows(path)
    assert not row["label"].startswith(("=", "+", "-", "@", "\t"))
    assert cells.unprotected(row["label"]) == label


def test_classes_are_no_formulas(tmp_path):
    found = dataclasses.replace(recognised(0.7, 0.2, 0.1), classes=("=a", "b", "c"))
    made = event(1, 0.4, 0.5, 0.7, recognition=found)
    tables.write_events_csv(prediction([made]), tmp_path / "events.csv")
    (row,) = rows(tmp_path / "events.csv")
    assert row["answer"] == "'=a" and row["p_=a"] == "0.7000"


def test_json_has_everything_and_no_nan(tmp_path):
    unknown = event(4, 3.7, 3.8, 3.9, strength=None, noise=None, head_speed=np.nan)
    made = prediction([*prediction().events, unknown])
    json_file.write(made, tmp_path / "events.json")

    def refuse(constant):
        raise AssertionError(constant)

    text = (tmp_path / "events.json").read_text(encoding="utf-8")
    value = json.loads(text, parse_constant=refuse)
    assert value["source"] == "clip.mp4" and value["frames"] == 121
    assert value["recogniser"]["trained_on"] == ["CASME II"]
    assert value["faces"][0]["last"] == {"time": 4.0, "frame": 121}
    first, second, third, fourth = value["events"]
    assert first["apex"] == {"time": 0.5, "frame": 16}
    assert first["recognition"]["answer"] == "disgust"
    assert second["recognition"]["answer"] is None
    assert second["recognition"]["most_probable"] == "disgust"
    assert third["recognition"] is None and third["type"] == "macro"
    assert fourth["strength"] is None and fourth["head_speed"] is None


def test_recording_without_faces_and_recogniser(tmp_path):
    source = Path("a\udcff.mp4")  # a byte that is no text
    made = prediction((), faces=(), recogniser=None, source=source)
    json_file.write(made, tmp_path / "events.json")
    value = json.loads((tmp_path / "events.json").read_text(encoding="utf-8"))
    assert value["source"] == "a?.mp4"
    assert value["recogniser"] is None and value["events"] == value["faces"] == []
    tables.write_events_csv(made, tmp_path / "events.csv")
    assert rows(tmp_path / "events.csv") == []
    tables.write_frames_csv(made, tmp_path / "frames.csv")
    lines = rows(tmp_path / "frames.csv")
    assert len(lines) == 121 and {line["face_id"] for line in lines} == {"0"}
    assert {line["success"] for line in lines} == {"0"}


def test_frames_have_gaps_where_a_face_is_not_seen(tmp_path):
    times = np.arange(10) / 30
    one = face(1, times, seen=[0, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    two = face(2, times, seen=[0, 0, 0, 0, 0, 1, 1, 1, 0, 0])
    made = prediction((), faces=(one, two), numbers=np.arange(1, 11), times=times)
    tables.write_frames_csv(made, tmp_path / "frames.csv")
    lines = rows(tmp_path / "frames.csv")
    assert list(lines[0])[:5] == [
        *("frame", "face_id", "timestamp", "confidence", "success")
    ]
    assert set(lines[0]) >= {f"motion_{name}" for name in NAMES}
    found = [(line["frame"], line["face_id"], line["success"]) for line in lines]
    expected = [("1", "0", "0"), ("2", "1", "1"), ("3", "1", "1"), ("4", "1", "0")]
    expected += [("5", "1", "1"), ("6", "1", "1"), ("6", "2", "1"), ("7", "2", "1")]
    expected += [("8", "2", "1"), ("9", "0", "0"), ("10", "0", "0")]
    assert found == expected
    assert lines[1]["box_left"] == "100.0" and lines[1]["timestamp"] == "0.0333"
    assert float(lines[1]["motion_lip_upper"]) == pytest.approx(
        one.signals.motion[0, NAMES.index("lip_upper")], abs=5e-6
    )
    assert lines[3]["box_left"] == lines[3]["motion_lip_upper"] == ""


def test_bids_columns_are_in_order_and_described(tmp_path):
    path = tmp_path / "clip_events.tsv"
    made = event(4, 0.1, 0.15, 0.2, origin="imported", label="a\tb\nc", noise=None)
    tables.write_bids(prediction([*prediction().events, made]), path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].split("\t")[:3] == ["onset", "duration", "trial_type"]
    found = rows(path, "\t")
    assert [row["onset"] for row in found] == ["0.1000", "0.4000", "1.5000", "2.4000"]
    assert found[0]["label"] == "a b c" and found[0]["noise"] == "n/a"
    assert found[1]["trial_type"] == "micro" and found[3]["answer"] == "n/a"
    assert all(value for row in found for value in row.values())
    sidecar = json.loads((tmp_path / "clip_events.json").read_text(encoding="utf-8"))
    assert list(sidecar) == lines[0].split("\t")
    assert all(column["Description"] for column in sidecar.values())
    assert sidecar["onset"]["Units"] == "s"
    assert set(sidecar["trial_type"]["Levels"]) == {"micro", "macro"}
    with pytest.raises(ValueError, match="_events.tsv"):
        tables.write_bids(prediction(), tmp_path / "events.tsv")


def test_challenge_asks_for_inclusive_frames(tmp_path):
    tables.write_megc(prediction(), tmp_path / "megc.csv")
    assert (tmp_path / "megc.csv").read_text(encoding="utf-8").splitlines() == [
        "vid,pred_onset,pred_offset,type",
        "clip,13,22,me",
        "clip,46,58,me",
        "clip,73,109,mae",
    ]
