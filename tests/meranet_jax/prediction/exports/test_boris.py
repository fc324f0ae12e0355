"""Projects of BORIS, with the checks of BORIS itself as far as they need no window."""

import dataclasses
import json

import pytest

from meranet_jax.prediction.exports import boris
from tests.meranet_jax.prediction.predictions import event, prediction, recognised


def project(made, path):
    boris.write(made, path)
    return json.loads(path.read_text(encoding="ascii"))


def problems(project):
    """What BORIS's check of a project's integrity would report."""
    ethogram = {one["code"]: one for one in project["behaviors_conf"].values()}
    subjects = {one["name"] for one in project["subjects_conf"].values()}
    found = []
    for name, observation in project["observations"].items():
        if name != name.strip():
            found.append("name")
        media = [one for some in observation["file"].values() for one in some]
        for info in ("length", "fps", "hasAudio", "hasVideo"):
            found += [m for m in media if m not in observation["media_info"][info]]
        open_states = []
        for row in observation["events"]:
            _, subject, code, modifier = row[:4]
            if len(row) != (6 if observation["type"] == "MEDIA" else 5):
                found.append(f"{row} has another length")
            if code not in ethogram or subject not in subjects:
                found.append(f"{code} or {subject} is not defined")
                continue
            sets = ethogram[code]["modifiers"]
            if modifier or sets:
                values = modifier.split("|")
                known = [one["values"] for one in sets.values()]
                if len(values) != len(known) or values[0] not in known[0]:
                    found.append(f"modifier {modifier}")
            if ethogram[code]["type"] == "State event":
                key = (subject, code, modifier)
                if key in open_states:
                    open_states.remove(key)
                else:
                    open_states.append(key)
        found += [f"{key} is not paired" for key in open_states]
    keys = [one["key"] for one in ethogram.values() if one["key"]]
    return [*found, *(["key"] if len(set(keys)) < len(keys) else [])]


def test_states_have_a_start_and_a_stop_and_the_apex_is_a_point(tmp_path):
    made = project(prediction(), tmp_path / "clip.boris")
    assert problems(made) == []
    observation = made["observations"]["clip.mp4"]
    first, apex, last = observation["events"][:3]
    assert first[:4] == [0.4, "face 1", "MERANet micro candidate", "disgust"]
    assert "resembles clips labelled disgust in CASME II" in first[4]
    assert first[5] == 12  # the 13th frame, from 0
    assert apex[:4] == [0.5, "face 1", "apex", ""]
    assert last[:4] == [0.7, *first[1:4]] and last[5] == 21
    codes = [row[2:4] for row in observation["events"][3:]]
    assert codes[0] == codes[2] == ["MERANet micro candidate", "no answer"]
    assert codes[3] == codes[5] == ["MERANet macro candidate", ""]


def test_media_are_found_from_the_folder_of_the_project(tmp_path):
    (tmp_path / "films").mkdir()
    video = tmp_path / "films" / "a b.mp4"
    video.touch()
    (tmp_path / "results").mkdir()
    made = prediction(source=video, frame_rate=None)
    made = project(made, tmp_path / "results" / "a b.boris")
    observation = made["observations"]["a b.mp4"]
    assert observation["file"]["1"] == ["../films/a b.mp4"]
    (rate,) = observation["media_info"]["fps"].values()
    (length,) = observation["media_info"]["length"].values()
    assert rate == pytest.approx(30) and length == pytest.approx(4 + 1 / 30, abs=1e-3)


def test_events_that_overlap_or_touch_stay_apart(tmp_path):
    given = {"origin": "imported", "label": "smile"}
    events = [
        event(1, 1.0, 1.2, 1.4, recognition=recognised(0.7, 0.2, 0.1)),
        event(2, 1.3, 1.4, 1.6, recognition=recognised(0.7, 0.2, 0.1)),
        event(3, 1.4, 1.5, 1.8, recognition=recognised(0.2, 0.7, 0.1)),
        event(4, 1.4, 1.5, 1.8, **given),
    ]
    made = project(prediction(events), tmp_path / "clip.boris")
    assert problems(made) == []
    starts = {}
    intervals = set()
    for time, subject, code, modifier, *_ in made["observations"]["clip.mp4"]["events"]:
        if code == "apex":
            continue
        start = starts.pop((subject, code), None)
        if start is None:
            starts[subject, code] = (time, modifier)
        else:
            assert modifier == start[1]
            intervals.add((start[0], time))
    assert intervals == {(1.0, 1.4), (1.3, 1.6), (1.4, 1.8)} and not starts


def test_names_and_folders_that_boris_does_not_allow(tmp_path):
    found = dataclasses.replace(recognised(0.7, 0.2, 0.1), classes=("a|(b)", "c", "d"))
    made = prediction(
        [event(1, 0.4, 0.5, 0.7, recognition=found, label="ä\n=1")], source=tmp_path
    )
    made = project(made, tmp_path / "clip.boris")
    assert problems(made) == []
    (observation,) = made["observations"].values()
    assert observation["type"] == "LIVE" and observation["file"] == {}
    assert observation["events"][0][3] == "a b"
    assert "label ä =1" in observation["events"][0][4]
