"""Tests that the examples of docs/extending.md work."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from meranet_jax.errors import UserError
from meranet_jax.flags import parse
from meranet_jax.training.fitters import check
from tests.datasets.tree import CROPPED, write_clip, write_csv
from tests.programs import ROOT, SMALLEST, train

pytestmark = pytest.mark.e2e

_FILE = re.compile(r"^`([\w/]+\.py)`[^\n]*:\n\n```python\n(.*?)^```$", re.M | re.S)
_EMOTIONS = ("disgust", "happiness", "surprise")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the programs with the files of the page, and generated recordings."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("datasets", "meranet_jax"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("train.py", "eval.py", "saliency.py"):
        shutil.copy(ROOT / name, folder)
    files = dict(_FILE.findall((ROOT / "docs" / "extending.md").read_text()))
    assert set(files) == {
        "datasets/mylab/mylab_dataset_builder.py",
        "datasets/ourlab/ourlab_dataset_builder.py",
        "temporal.py",
        "framenet.py",
    }
    for dataset in ("mylab", "ourlab"):
        (folder / "datasets" / dataset).mkdir()
        for name in ("__init__.py", "README.md", "CITATIONS.bib", "TAGS.txt"):
            (folder / "datasets" / dataset / name).touch()
    for name, text in files.items():
        (folder / name).write_text(text)
    _record(folder / "recordings")
    _record_without_table(folder / "labelled")
    return folder


def _record(folder):
    """Writes recordings in the layout that the page describes."""
    header = ["Participant", "Clip", "Onset", "Apex", "Offset", "Action Units", "Label"]
    rows = []
    for subject in range(1, 7):
        for index, emotion in enumerate(_EMOTIONS):
            clip = folder / "frames" / f"sub{subject:02d}" / emotion
            names = {number: f"{number:04d}.jpg" for number in range(1, 41)}
            write_clip(clip, 10 * subject + index, names, CROPPED)
            rows.append([f"sub{subject:02d}", emotion, 10, 20, 30, "AU12", emotion])
    write_csv(folder / "codes.csv", [header, *rows])


def _record_without_table(folder):
    """Writes recordings in folders that are their labels."""
    for subject in range(1, 7):
        for index, emotion in enumerate(_EMOTIONS, start=1):
            place = folder / "frames" / f"sub{subject:02d}" / emotion / f"clip{index}"
            names = {number: f"{number:04d}.jpg" for number in range(1, 41)}
            write_clip(place, 10 * subject + index, names, CROPPED)


# All programs in one process, which is faster; an argument with * is a file's name.
_RUN = """
import contextlib, glob, io, json, runpy, sys
from meranet_jax.evaluation import figures

results, save = {}, figures.save
for title, (program, *arguments) in json.load(sys.stdin).items():
    sys.argv = [program, *(glob.glob(a)[0] if "*" in a else a for a in arguments)]
    output, status = io.StringIO(), None
    # The figures of reports are empty files, which is faster; those of maps are not.
    def touch(figure, path):
        for suffix in (".png", ".svg"):
            path.with_suffix(suffix).touch()
    figures.save = save if program == "saliency.py" else touch
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            run = runpy.run_path if program.endswith(".py") else runpy.run_module
            run(program, run_name="__main__")
        except SystemExit as end:
            status = end.code
    results[title] = [status or 0, output.getvalue()]
json.dump(results, sys.stdout)
"""

MYLAB = ["--dataset=mylab", "--manual_dir=recordings"]
OURLAB = ["--dataset=ourlab", "--manual_dir=labelled"]
FLAGS = ["--size=16", "--epochs=1", "--data_dir=data", "--devices=1"]
FLAGS += ["--protocol=holdout_subject"]
ATTENTIONS = ["--attentions", "channel", "temporal:TemporalAttention"]
MODEL = "--model=framenet:FRAMENET"
ATTENTION_RUN = ["--run", "runs/mylab-meranet-channel+TemporalAttention-*"]
MODEL_RUN = ["--run", "runs/ourlab-framenet-*"]


@pytest.fixture(scope="module")
def done(project):
    """Exit code and output of programs that use the examples."""
    check = "datasets.check"
    programs = {
        "check mylab": [check, "mylab", MYLAB[1]],
        "check ourlab": [check, "ourlab", OURLAB[1]],
        "train attention": ["train.py", *SMALLEST, *FLAGS, *MYLAB, *ATTENTIONS],
        "evaluate attention": ["eval.py", *ATTENTION_RUN],
        "explain attention": ["saliency.py", *ATTENTION_RUN, "--number=1"],
        "test on ourlab": ["eval.py", *ATTENTION_RUN, *OURLAB],
        "test on mylab": ["eval.py", *ATTENTION_RUN, "--dataset=mylab"],
        "test on casme": ["eval.py", *ATTENTION_RUN, "--dataset=casme"],
        "help": ["train.py", MODEL, "--help"],
        "train model": ["train.py", MODEL, *FLAGS, *OURLAB, "--features=4"],
        "evaluate model": ["eval.py", *MODEL_RUN],
        "explain model": ["saliency.py", *MODEL_RUN, "--number=1"],
    }
    finished = subprocess.run(
        [sys.executable, "-c", _RUN],
        cwd=project,
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return json.loads(finished.stdout)


def output(done, title):
    """Returns the output of a program that succeeded."""
    status, text = done[title]
    assert status == 0, (status, text)
    return text


def test_a_new_data_set_is_checked_and_used_for_training(done):
    expected = "18 of 18 expressions can become a record"
    assert expected in output(done, "check mylab")
    trained = output(done, "train attention")
    assert "mylab: 18 clips of 6 subjects: disgust (6 clips)" in trained
    assert "Report: runs/mylab-meranet-channel+TemporalAttention" in trained


def test_a_data_set_without_a_table_is_checked_and_used_for_training(done):
    expected = "18 of 18 expressions can become a record"
    assert expected in output(done, "check ourlab")
    expected = "ourlab: 18 clips of 6 subjects: disgust (6 clips)"
    assert expected in output(done, "train model")


def test_a_run_is_tested_on_another_new_data_set(done):
    tested = output(done, "test on ourlab")
    assert "trained on mylab (protocol holdout_subject, 1 fold" in tested
    assert "tested on ourlab: 18 clips of 6 subjects" in tested
    assert "/cross/ourlab/report.md" in tested
    for title, message in (
        ("test on mylab", "was trained on subjects of this data set"),
        ("test on casme", "give it with --manual_dir=DIR"),
    ):
        status, _ = done[title]
        assert status.startswith("error: ") and message in status


def test_a_new_attention_is_trained_evaluated_and_explained(project, done):
    expected = "3D ResNet with channel, temporal:TemporalAttention"
    assert expected in output(done, "train attention")
    (path,) = project.glob(ATTENTION_RUN[1])
    contents = [
        p.read_bytes() for p in path.glob("folds/*/weights/**/*") if p.is_file()
    ]
    assert any(b"TemporalAttention_0" in one for one in contents)
    assert "same predicted class" in output(done, "evaluate attention")
    output(done, "explain attention")
    assert (path / "saliency" / "overview.png").exists()


def test_a_new_recogniser_is_trained_evaluated_and_explained(project, done):
    listed = output(done, "help")
    assert "--dropout" in listed and "--learning_rate" in listed
    assert "--kernel_size" not in listed
    assert "FrameNet, preset paper, fp32, on 1 x cpu" in output(done, "train model")
    assert "same predicted class" in output(done, "evaluate model")
    explained = output(done, "explain model")
    assert "do not say where the face moved" in explained


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=framenet"], "--model=framenet is no recogniser"),
        (["--model=meranett"], "Did you mean meranet?"),
        (["--model=framenet:Nothing"], "module 'framenet' has no attribute 'Nothing'"),
        (["--model=nowhere:NET"], "No module named 'nowhere'"),
        (["--model=framenet:FrameNet"], "Expected a meranet_jax.recognisers.Network"),
        (["--model=framenet:FRAMENET", "--width=4"], "--model=meranet has."),
        (["--model=framenet:FRAMENET", "--preset=small"], "FRAMENET has paper only"),
        (["--model=framenet:FRAMENET", "--input=flow"], "accepts rgb"),
        (["--model=lbp_top", "--epochs=3"], "--model=meranet has."),
        (["--model=resnet3d", "--no-attention"], "choose --model=resnet3d"),
    ],
)
def test_invalid_recognisers_are_refused(project, monkeypatch, flags, message):
    monkeypatch.syspath_prepend(project)
    with pytest.raises(UserError) as refused:
        parse(["--dataset=mylab", *flags])
    assert message in str(refused.value)


# The most likely mistake: it returns the attention map, not the scaled features.
_MAP = """
from collections.abc import Callable
import flax.linen as nn

class Map(nn.Module):
    conv: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x):
        return nn.sigmoid(self.conv(1, (3, 3, 3))(x))
"""


@pytest.mark.parametrize(
    ("attentions", "message"),
    [
        (["temporal"], "--attentions temporal: name, each once, channel"),
        (["channel", "channel"], "each once"),
        (["temporal:Nothing"], "module 'temporal' has no attribute 'Nothing'"),
        (["nowhere:Attention"], "No module named 'nowhere'"),
        (["os:system"], "os:system cannot be used: it is not a class of Flax modules"),
        (["flax.linen:Dense"], "it must be made with conv alone, but "),
        (["mapping:Map"], "must return the shape of its input"),
    ],
)
def test_invalid_attentions_are_refused(project, monkeypatch, attentions, message):
    (project / "mapping.py").write_text(_MAP)
    monkeypatch.syspath_prepend(project)
    with pytest.raises(UserError) as refused:
        check(parse([*SMALLEST, *FLAGS, *MYLAB, "--attentions", *attentions]))
    assert message in str(refused.value)


def test_a_refusal_comes_before_anything_is_prepared(project, monkeypatch, tmp_path):
    (project / "mapping.py").write_text(_MAP)
    monkeypatch.syspath_prepend(project)
    folders = [f"--{name}_dir={tmp_path / name}" for name in ("data", "runs")]
    with pytest.raises(UserError, match="shape of its input"):
        train("--dataset=synthetic", *folders, "--attentions", "mapping:Map")
    assert not list(tmp_path.iterdir())
