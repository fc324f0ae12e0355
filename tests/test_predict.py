"""Tests of predict.py with the weights that ship with the package."""

import csv
import errno
import functools
import json
import os
import re
import runpy
import shutil
import signal
import sys

import numpy as np
import pympi
import pytest
from PIL import Image

import meranet_jax
import predict
from datasets.synthetic import long_video
from datasets.synthetic.long_video import LongVideoConfig
from meranet_jax.errors import UserError
from meranet_jax.prediction import predicting, recogniser, timeline
from meranet_jax.training.signals import Interrupted
from meranet_jax.video import spotting
from meranet_jax.video.spotting import Found
from tests.meranet_jax.video.test_video_file import grey, write
from tests.programs import ROOT

pytestmark = pytest.mark.e2e

NAME = "лицо 1"


@pytest.fixture(scope="module", autouse=True)
def load():
    """Loads the recogniser once, so that its network is compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recogniser, "load", functools.cache(recogniser.load))
        yield


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video of a photograph that moves once, with what happens in it."""
    path = tmp_path_factory.mktemp("video") / f"{NAME}.mp4"
    config = LongVideoConfig(
        seconds=4.0,
        rate=20,
        faces="photograph",
        expressions=15.0,
        amplitude=(3.0, 3.0),
        noise=0.0,
        flicker=0.0,
    )
    return path, long_video.render(path, config)


@pytest.fixture(scope="module")
def predicted(video, tmp_path_factory):
    """The folder of results of the video."""
    output = tmp_path_factory.mktemp("predicted")
    assert run(video[0], output=output, pictures=1) == 0
    return output / NAME


@pytest.fixture(scope="module")
def grey_video(tmp_path_factory):
    """A video of two seconds without a face."""
    path = tmp_path_factory.mktemp("grey") / "grey.mp4"
    write(path, [grey(90)] * 60)
    return path


def run(*videos, output, **settings):
    """Runs the program in this process, and returns its exit status."""
    with pytest.raises(SystemExit) as stopped:
        predict.main(tuple(map(str, videos)), output=str(output), **settings)
    return stopped.value.code


def read_csv(path, delimiter=","):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def files_in(folder):
    """The names of all files below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in paths}


def test_all_files_are_written(video, predicted):
    assert os.listdir(predicted.parent) == [NAME]
    assert files_in(predicted) == {
        "candidates/0001.gif",
        "candidates/0001.png",
        "events.csv",
        "events.json",
        "files.json",
        "frames.csv",
        "megc.csv",
        "report.md",
        "timeline.png",
        "timeline.svg",
        f"{NAME}.boris",
        f"{NAME}.eaf",
        f"{NAME}_events.json",
        f"{NAME}_events.tsv",
    }
    with Image.open(predicted / "candidates" / "0001.gif") as animation:
        assert animation.n_frames > 1  # equal ones are stored once
    with Image.open(predicted / "candidates" / "0001.png") as strip:
        assert len(np.unique(np.asarray(strip))) > 100


def test_the_expression_is_found(video, predicted):
    (truth,) = video[1]
    (found,) = read_csv(predicted / "events.csv")
    assert float(found["onset"]) == pytest.approx(truth.onset, abs=0.1)
    assert float(found["offset"]) == pytest.approx(truth.offset, abs=0.1)
    assert (found["type"], found["origin"], found["face"]) == ("micro", "spotted", "1")
    probabilities = [float(found[f"p_{n}"]) for n in ("negative", "positive")]
    assert 0 < sum(probabilities) < 1
    assert bool(found["answer"]) != bool(found["reasons"])


def test_the_files_are_consistent(predicted):
    (row,) = read_csv(predicted / "events.csv")
    described = json.loads((predicted / "events.json").read_text(encoding="utf-8"))
    (event,) = described["events"]
    assert described["source"] == f"{NAME}.mp4" and described["frames"] == 80
    for name in ("onset", "apex", "offset"):
        assert event[name]["time"] == float(row[name])
        assert event[name]["frame"] == int(row[f"{name}_frame"])
    assert (event["recognition"]["answer"] or "") == row["answer"]
    assert "; ".join(event["regions"]) == row["regions"]
    for name, value in event["recognition"]["probabilities"].items():
        assert value == float(row[f"p_{name}"])
    frames = read_csv(predicted / "frames.csv")
    assert [int(one["frame"]) for one in frames] == list(range(1, 81))
    assert all(one["success"] == "1" for one in frames)
    (bids,) = read_csv(predicted / f"{NAME}_events.tsv", delimiter="\t")
    assert (bids["onset"], bids["trial_type"]) == (row["onset"], "micro")
    (megc,) = read_csv(predicted / "megc.csv")
    assert list(megc.values()) == [NAME, row["onset_frame"], row["offset_frame"], "me"]
    (tier,) = pympi.Elan.Eaf(predicted / f"{NAME}.eaf").tiers.values()
    assert len(tier[0]) == 1
    project = json.loads((predicted / f"{NAME}.boris").read_text())
    (observation,) = project["observations"].values()
    assert len(observation["events"]) == 3  # start, apex and stop
    report = (predicted / "report.md").read_text(encoding="utf-8")
    assert f"{float(row['apex']):.3f} s (frame {row['apex_frame']})" in report


def test_the_report_has_links_to_pictures_that_exist(predicted):
    report = (predicted / "report.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]*)\)", report)
    assert links == ["timeline.png", "candidates/0001.png", "candidates/0001.gif"]
    assert all((predicted / link).is_file() for link in links)


def test_no_file_names_folders_of_the_machine(video, predicted):
    relative = os.path.relpath(video[0], predicted)  # BORIS and ELAN open the video
    for name in files_in(predicted):
        content = (predicted / name).read_bytes()
        content = content.replace(relative.encode(), b"")
        for folder in (video[0].parent, predicted.parent, ROOT):
            assert str(folder).encode() not in content, name


def test_edited_events_replace_results(video, predicted, tmp_path, capsys):
    folder = shutil.copytree(predicted, tmp_path / NAME)
    events = tmp_path / "mine.csv"
    text = (folder / "events.csv").read_text(encoding="utf-8")
    events.write_text(text.replace("spotted,,", "spotted,raised brow,"))
    with pytest.raises(UserError, match=f"{NAME} exists. Choose another --output"):
        predict.main((str(video[0]),), output=str(tmp_path), events=str(events))
    assert files_in(folder) == files_in(predicted)
    status = run(
        video[0], output=tmp_path, events=str(events), overwrite=True, pictures=0
    )
    assert status == 0 and "imported micro interval" in capsys.readouterr().out
    (before,), (after,) = (read_csv(f / "events.csv") for f in (predicted, folder))
    assert (after["origin"], after["label"]) == ("imported", "raised brow")
    kept = ("number", "face", "onset", "apex", "offset", "answer", "p_positive")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert not (folder / "candidates").exists()  # of the first prediction


def test_another_folder_is_not_overwritten(video, tmp_path):
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "events.json").write_text("{}")
    with pytest.raises(UserError, match="is no folder of predictions"):
        predict.main((str(video[0]),), output=str(tmp_path), overwrite=True)
    assert files_in(tmp_path) == {f"{NAME}/events.json"}


@pytest.mark.parametrize(
    ("name", "what"),
    [("thesis.txt", "was not written by predict.py"), (f"{NAME}.boris", "was changed")],
)
def test_files_of_the_users_are_not_overwritten(
    video, predicted, tmp_path, name, what, capsys
):
    folder = shutil.copytree(predicted, tmp_path / NAME)
    (folder / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} in it {what}. Copy your files"):
        predict.main((str(video[0]),), output=str(tmp_path), overwrite=True)
    assert (folder / name).read_text() == "mine"
    # As after an interruption
    assert run(video[0], output=tmp_path, skip_finished=True) == 0
    assert "1 of 1 recordings have results" in capsys.readouterr().out


def test_a_recording_without_a_face_has_a_result(grey_video, tmp_path, capsys):
    assert run(grey_video, output=tmp_path) == 0
    said = capsys.readouterr().out
    assert "no candidate was found" in said and "No face was found. Faces must" in said
    assert "## Notes" in (tmp_path / "grey" / "report.md").read_text()


def test_a_short_recording_is_named(tmp_path, capsys):
    write(tmp_path / "one.mp4", [grey(9)])
    assert run(tmp_path / "one.mp4", output=tmp_path / "out") == 0
    assert "The recording is only 0.00 s long" in capsys.readouterr().out


def test_a_missing_end_is_named(tmp_path, capsys):
    write(tmp_path / "cut.mkv", [grey(n) for n in range(60)])
    content = (tmp_path / "cut.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    assert run(tmp_path / "cut.mkv", output=tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "the file gives a length of 2.00 s: its end may be missing" in said


def test_a_recording_that_fails_does_not_stop_the_others(grey_video, tmp_path, capsys):
    write(tmp_path / "whole.mp4", [grey(n) for n in range(9)])
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 2 // 3])
    assert run(tmp_path / "cut.mp4", grey_video, output=tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert said.count("error: cut.mp4 cannot be read: it is damaged") == 1
    assert "the end of this MP4 is missing: copy it again" in said
    assert "1 of 2 recordings have no result." in said
    assert os.listdir(tmp_path / "out") == ["grey"]


def make_inputs(folder):
    """Writes what is no recording."""
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nother.mp4\n")
    (folder / "empty.mp4").touch()
    (folder / "nothing").mkdir()
    (folder / "images").mkdir()
    Image.fromarray(grey(9)).save(folder / "images" / "img1.png")
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("list.m3u8", {}, "list.m3u8 cannot be read: it is damaged or not a video"),
        ("empty.mp4", {}, "convert other formats to MP4"),
        ("http://127.0.0.1/x.mp4", {}, "is a network address, and recordings are read"),
        ("none.mp4", {}, "There is no file or folder"),
        ("pipe", {}, "is neither a file nor a folder"),
        ("images", {}, "Give their frame rate in Hz, for instance --rate=200"),
        ("nothing", {"rate": 200.0}, "Frames are images with numbers in their names"),
        (None, {"rate": 30.0}, "have times of their own; leave out --rate"),
        (None, {"face": 2}, "--face=2: grey.mp4 has no such face. No face was found"),
    ],
)
def test_what_cannot_be_used(grey_video, tmp_path, capsys, name, settings, message):
    make_inputs(tmp_path)
    path = grey_video if name is None else name if ":" in name else tmp_path / name
    assert run(path, output=tmp_path / "out", **settings) == 1
    said = capsys.readouterr().err
    (line,) = [one for one in said.splitlines() if one.startswith("error: ")]
    assert message in line and "Traceback" not in said
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("videos", "settings", "message"),
    [
        ((), {}, "Name a video"),
        (("",), {}, "Name a video"),
        (("a/x.mp4", "b/x.avi"), {}, "would both be written to the folder x"),
        (("x.mp4",), {"pictures": -1}, "--pictures=-1 must not be negative"),
        (("x.mp4",), {"face": 0}, "--face=0: faces are numbered from 1"),
        (("x.mp4",), {"events": "no.csv"}, "There is no file no.csv. Expected a CSV"),
        (("x.mp4", "y.mp4"), {"events": "e.csv"}, "has the events of one recording"),
        (("x.mp4",), {"run": "nowhere"}, "--run=nowhere is not a folder"),
    ],
)
def test_refusals(tmp_path, videos, settings, message):
    with pytest.raises(UserError, match=message):
        predict.main(videos, output=str(tmp_path / "out"), **settings)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing(grey_video, tmp_path, capsys, monkeypatch):
    def fail(prediction, path):
        assert (path.parent / "events.csv").exists()  # in the temporary folder
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(timeline, "write", fail)
    assert run(grey_video, output=tmp_path) == 1
    said = capsys.readouterr().err
    assert (
        f"Cannot read or write {tmp_path / 'grey' / 'timeline.png'}: No space" in said
    )
    assert "Free some space, or choose another folder." in said
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_finished_recordings(
    grey_video, tmp_path, capsys, monkeypatch, number
):
    other = shutil.copy(grey_video, tmp_path / "other.mp4")
    draw = timeline.write

    def interrupt(prediction, path):
        if prediction.source == other:
            raise Interrupted(number)
        draw(prediction, path)

    monkeypatch.setattr(timeline, "write", interrupt)
    monkeypatch.setattr("meranet_jax.training.signals.install_handlers", lambda: None)
    arguments = [str(grey_video), str(other), f"--output={tmp_path / 'out'}"]
    monkeypatch.setattr(sys, "argv", ["predict.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "predict.py"), run_name="__main__")
    assert stopped.value.code == 128 + number
    said = capsys.readouterr().err
    assert f"interrupted ({number.name}); finished recordings are kept" in said
    assert os.listdir(tmp_path / "out") == ["grey"]


def test_blinks_are_counted_and_the_search_reaches_the_end(video, monkeypatch):
    search = spotting.search

    def as_blinks(*arguments):
        found = search(*arguments)
        assert found.candidates and not found.blinks
        return Found(candidates=(), blinks=found.candidates)

    monkeypatch.setattr(spotting, "search", as_blinks)
    reached = []
    prediction = meranet_jax.predict(
        video[0], on_progress=lambda *progress: reached.append(progress)
    )
    assert prediction.events == ()
    (note,) = [note for note in prediction.notes if "blink" in note]
    assert note.startswith("1 blink was left out")
    times = [seconds for stage, seconds in reached if stage == "motion"]
    assert times == sorted(times) and times[-1] == pytest.approx(4, abs=0.2)


def test_the_package_has_predict():
    assert meranet_jax.predict is predicting.predict
