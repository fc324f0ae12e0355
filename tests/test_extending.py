"""Tests that the examples of docs/extending.md work."""

import re
import shutil
import subprocess
import sys

import pytest

import eval as evaluation
from meranet_jax.errors import DataError, UserError
from meranet_jax.flags import parse
from meranet_jax.runs.cross_dataset import Target
from meranet_jax.training.fitters import check
from tests.datasets import casme2_tree
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


def run(project, *command):
    return subprocess.run(
        [sys.executable, *command],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
    )


# eval.py and saliency.py in one process, which is faster
EVALUATE_AND_EXPLAIN = """
import sys, eval, saliency
eval.main(run=sys.argv[1])
saliency.main(sys.argv[1], number=1)
"""

FLAGS = [*SMALLEST, "--epochs=1", "--data_dir=data", "--devices=1"]
FLAGS += ["--dataset=mylab", "--manual_dir=recordings", "--protocol=holdout_subject"]


def test_a_new_data_set_is_checked_and_used_for_training(project):
    checked = run(project, "-m", "datasets.check", "mylab", "--manual_dir=recordings")
    assert "18 of 18 expressions can become a record" in checked.stdout
    trained = run(project, "train.py", "--name=one", *FLAGS)
    assert trained.returncode == 0, trained.stderr
    assert "mylab: 18 clips of 6 subjects: disgust (6 clips)" in trained.stdout
    assert "Report: runs/one/report.md" in trained.stdout


def test_a_data_set_without_a_table_is_checked_and_used_for_training(project):
    copy = "--manual_dir=labelled"
    checked = run(project, "-m", "datasets.check", "ourlab", copy)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "18 of 18 expressions can become a record" in checked.stdout
    flags = [f for f in FLAGS if not f.startswith(("--dataset=", "--manual_dir="))]
    trained = run(project, "train.py", "--dataset=ourlab", copy, *flags)
    assert trained.returncode == 0, trained.stderr
    assert "ourlab: 18 clips of 6 subjects: disgust (6 clips)" in trained.stdout


def test_a_run_on_another_data_set_is_tested_on_the_new_one(project):
    casme2_tree.write_tree(project / "copy", rows=casme2_tree.SOME)
    flags = ["--dataset=casme2", f"--manual_dir={project / 'copy'}", "--name=two"]
    folders = [f"--{name}_dir={project / name}" for name in ("data", "runs")]
    train(*SMALLEST, "--epochs=1", "--devices=1", *flags, *folders)
    other = ["--dataset=mylab", "--manual_dir=recordings"]
    tested = run(project, "eval.py", "--run=runs/two", *other)
    assert tested.returncode == 0, tested.stderr
    assert "MERANet trained on casme2 (protocol holdout, 1 fold" in tested.stdout
    assert "tested on mylab: 18 clips of 6 subjects" in tested.stdout
    assert "Report: runs/two/cross/mylab/report.md" in tested.stdout
    for dataset, message in (
        ("casme2", "runs/two was trained on subjects of this data set"),
        ("casme", "give it with --manual_dir=DIR"),
    ):
        with pytest.raises((UserError, DataError), match=message):
            evaluation.main(
                run=str(project / "runs" / "two"), target=Target(dataset=dataset)
            )


def test_a_new_attention_is_trained_evaluated_and_explained(project):
    attentions = ["--attentions", "channel", "temporal:TemporalAttention"]
    trained = run(project, "train.py", *FLAGS, *attentions)
    assert trained.returncode == 0, trained.stderr
    assert "3D ResNet with channel, temporal:TemporalAttention" in trained.stdout
    (path,) = (project / "runs").glob("mylab-meranet-channel+TemporalAttention-*")
    contents = [
        p.read_bytes() for p in path.glob("folds/*/weights/**/*") if p.is_file()
    ]
    assert any(b"TemporalAttention_0" in one for one in contents)
    explained = run(project, "-c", EVALUATE_AND_EXPLAIN, path)
    assert explained.returncode == 0, explained.stderr
    assert "same predicted class" in explained.stdout


def test_a_new_recogniser_is_trained_evaluated_and_explained(project):
    model = ["--model=framenet:FRAMENET"]
    only_of_meranet = (SMALLEST[0], *SMALLEST[2:])  # its preset, and its network
    flags = [flag for flag in FLAGS if flag not in only_of_meranet]
    listed = run(project, "train.py", *model, "--help").stdout
    assert "--dropout" in listed and "--learning_rate" in listed
    assert "--kernel_size" not in listed
    trained = run(project, "train.py", *flags, *model, "--features=4", "--epochs=2")
    assert trained.returncode == 0, trained.stderr
    assert "FrameNet, preset paper, fp32, on 1 x cpu" in trained.stdout
    (path,) = (project / "runs").glob("mylab-framenet-*")
    explained = run(project, "-c", EVALUATE_AND_EXPLAIN, path)
    assert explained.returncode == 0, explained.stderr
    assert "same predicted class" in explained.stdout
    assert "do not say where the face moved" in explained.stdout


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
        check(parse([*FLAGS, "--attentions", *attentions]))
    assert message in str(refused.value)


def test_a_refusal_comes_before_anything_is_prepared(project):
    runs = sorted((project / "runs").glob("*"))
    (project / "mapping.py").write_text(_MAP)
    flags = [*FLAGS, "--data_dir=unwritten", "--attentions", "mapping:Map"]
    refused = run(project, "train.py", *flags)
    assert refused.returncode == 1 and "shape of its input" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (project / "unwritten").exists()
    assert sorted((project / "runs").glob("*")) == runs
