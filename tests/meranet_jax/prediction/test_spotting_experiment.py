"""Files, resuming and messages of ``reproduce.py spotting``, on given scores."""

import collections
import types

import pytest
from rich.console import Console

from meranet_jax.errors import DataError, UserError
from meranet_jax.evaluation.spotting import SpottingCounts
from meranet_jax.prediction import spotting_experiment, spotting_table
from meranet_jax.prediction.spotting_score import Score, ScoredRecording

SCORED = ScoredRecording(
    Score(
        micro=SpottingCounts(4, 5, 3, 2.0),
        unflagged=SpottingCounts(4, 3, 3, 2.0),
        macro=SpottingCounts(0, 1, 0, 2.0),
        right=2,
        wrong=1,
        pairs=collections.Counter(
            {("positive", "positive"): 2, ("negative", "positive"): 1}
        ),
    ),
    frames=3600,
    analysed=3600,
    faces=1,
)


class Recordings:
    """Recordings that are not read; ``opened`` has the names of those it asked for."""

    def __init__(self, names, settings=""):
        self.opened = []
        self.recordings = [
            types.SimpleNamespace(
                group=name.partition("/")[0],
                name=name.partition("/")[2],
                settings=settings + name,
                labelled=False,
                open=lambda folder, name=name: self._open(folder, name),
            )
            for name in names
        ]
        self.titles = {one.group: f"the set {one.group}" for one in self.recordings}
        self.notes = ["a note"]

    def _open(self, folder, name):
        (folder / "video.mp4").write_text("")
        self.opened.append(name)
        return types.SimpleNamespace(name=name, seconds=120)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Returns a function that runs the experiment on recordings with given scores."""

    def run(listed, score=lambda opened, *_, **__: SCORED, arguments=()):
        monkeypatch.setattr(spotting_experiment, "score", score)
        spotting_experiment.main(
            [f"--results_dir={tmp_path}", *arguments],
            Console(quiet=True),
            generated=lambda sets, **_: listed,
            licensed=lambda name, folder, **_: listed,
        )
        return tmp_path / "spotting"

    return run


def cells(text, line):
    """Returns the cells of a line of a table."""
    (found,) = (one for one in text.splitlines() if one.startswith(f"| {line} "))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_counts_are_pooled_over_the_recordings_of_a_set(start):
    folder = start(Recordings(["a/0", "a/1", "b/0"]))
    text = (folder / "spotting.md").read_text()
    # 6 of 10 candidates match 6 of 8 expressions; 4 false alarms in 4 minutes
    assert cells(text, "a | 2 | micro |")[3:] == (
        ["4.00", "8", "10", "6", "0.600", "0.750", "0.667", "1.00"]
    )
    assert cells(text, "b | 1 | micro without a flag |")[3:] == (
        ["2.00", "4", "3", "3", "1.000", "0.750", "0.857", "0.00"]
    )
    # UF1: negative 0, positive 8 / 10
    assert cells(text, "a | 6 |")[2:] == (
        ["0.667 (4)", "0.000 (0)", "0.333 (2)", "0.400", "0.267"]
    )
    assert "macro" not in text and "- a: the set a" in text and "- a note" in text
    rows = spotting_table.read(folder / "spotting.csv")
    assert {key: row.scored for key, row in rows.items()} == {
        ("a", "0"): SCORED,
        ("a", "1"): SCORED,
        ("b", "0"): SCORED,
    }


def test_metrics_without_expressions_are_empty(start):
    nothing = ScoredRecording(Score(micro=SpottingCounts(0, 1, 0, 2.0)), 60, 20, 0)
    text = (start(Recordings(["a/0"]), lambda *_, **__: nothing)) / "spotting.md"
    text = text.read_text()
    assert cells(text, "a | 1 | micro |")[7:] == ["", "", "", "0.50"]
    assert "No face was found in: a, 0." in text
    assert "Fewer frames could be analysed than 30 a second" in text


def test_interrupted_work_is_resumed(start, tmp_path):
    def interrupted(opened, *_, **__):
        if opened.name == "a/1":
            raise KeyboardInterrupt
        return SCORED

    names = ["a/0", "a/1", "a/2"]
    with pytest.raises(KeyboardInterrupt):
        start(Recordings(names), interrupted)
    folder = tmp_path / "spotting"
    assert {one.name for one in folder.iterdir()} <= {"spotting.csv", ".lock"}
    (folder / ".video-killed").mkdir()  # of a process that could not remove it
    resumed = Recordings(names)
    start(resumed)
    assert resumed.opened == ["a/1", "a/2"]
    assert {one.name for one in folder.iterdir()} <= (
        {"spotting.csv", "spotting.md", ".lock"}
    )
    again = Recordings(names)
    start(again)
    assert again.opened == []
    # Another set is added to the file.
    start(Recordings(["b/0"]))
    assert len(spotting_table.read(folder / "spotting.csv")) == 4


def test_other_settings_or_another_version_are_measured_again(start, monkeypatch):
    start(Recordings(["a/0", "b/0"]))
    changed = Recordings(["a/0"], settings="longer")
    start(changed)
    assert changed.opened == ["a/0"]
    monkeypatch.setattr(spotting_experiment.version, "__version__", "9")
    newer = Recordings(["b/0"])
    folder = start(newer)
    assert newer.opened == ["b/0"]
    # A row of another version is not in the table, even if the recording is gone.
    monkeypatch.setattr(spotting_experiment.version, "__version__", "10")

    def gone(opened, *_, **__):
        if opened.name == "b/0":
            raise DataError("it is damaged")
        return SCORED

    text = (start(Recordings(["a/0", "b/0"]), gone) / "spotting.md").read_text()
    assert "- 0 is left out: it is damaged" in text and "| b " not in text
    with pytest.raises(UserError, match="None of the recordings can be read"):
        start(Recordings(["b/0"]), gone)
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--manual_dir=x"], "--manual_dir is for --dataset. Name one"),
        (["--dataset=samm", "--seeds=2"], "--seeds is for generated videos"),
        (["--run=x"], "--run=x: none of the recordings has the emotion"),
    ],
)
def test_flags_without_effect_are_refused(start, arguments, message):
    with pytest.raises(UserError, match=message):
        start(Recordings(["a/0"]), arguments=arguments)


def test_edited_results_and_a_second_process_are_refused(start, monkeypatch):
    folder = start(Recordings(["a/0"]))
    with spotting_experiment.filelock.FileLock(folder / ".lock"):
        with pytest.raises(UserError, match="Another process writes to"):
            start(Recordings(["a/0"]))
    path = folder / "spotting.csv"
    path.write_text(path.read_text().replace("3600", "many"))
    with pytest.raises(UserError, match="Delete it, or choose another --results_dir"):
        start(Recordings(["a/0"]))
