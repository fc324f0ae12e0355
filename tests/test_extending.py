"""docs/extending.md: what it tells to write is written, checked and trained with."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.datasets.tree import CROPPED, write_clip, write_csv
from tests.programs import ROOT, SMALLEST

_FILE = re.compile(r"^`([\w/]+\.py)`[^\n]*:\n\n```python\n(.*?)^```$", re.M | re.S)
_EMOTIONS = ("disgust", "happiness", "surprise")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the programs with the page's files in it, and recordings."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("datasets", "meranet_jax"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("train.py", "eval.py", "saliency.py"):
        shutil.copy(ROOT / name, folder)
    files = dict(_FILE.findall((ROOT / "docs" / "extending.md").read_text()))
    assert set(files) == {
        "datasets/mylab/mylab_dataset_builder.py",
        "temporal.py",
        "framenet.py",
    }
    mylab = folder / "datasets" / "mylab"
    mylab.mkdir()
    for name in ("__init__.py", "README.md", "CITATIONS.bib", "TAGS.txt"):
        (mylab / name).touch()
    for name, text in files.items():
        (folder / name).write_text(text)
    _record(folder / "recordings")
    return folder


def _record(folder):
    """The layout that the page tells."""
    header = ["Participant", "Clip", "Onset", "Apex", "Offset", "Action Units", "Label"]
    rows = []
    for subject in range(1, 7):
        for place, emotion in enumerate(_EMOTIONS):
            clip = folder / "frames" / f"sub{subject:02d}" / emotion
            names = {number: f"{number:04d}.jpg" for number in range(1, 41)}
            write_clip(clip, 10 * subject + place, names, CROPPED)
            rows.append([f"sub{subject:02d}", emotion, 10, 20, 30, "AU12", emotion])
    write_csv(folder / "codes.csv", [header, *rows])


def run(project, *command):
    return subprocess.run(
        [sys.executable, *command],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
    )


FLAGS = [*SMALLEST, "--epochs=1", "--data_dir=data", "--devices=1"]
FLAGS += ["--dataset=mylab", "--manual_dir=recordings", "--protocol=holdout_subject"]


def test_a_new_data_set_is_checked_and_trained_on(project):
    checked = run(project, "-m", "datasets.check", "mylab", "--manual_dir=recordings")
    assert "18 of 18 expressions can become a record" in checked.stdout
    trained = run(project, "train.py", "--name=one", *FLAGS)
    assert trained.returncode == 0, trained.stderr
    assert "mylab: 18 clips of 6 subjects: disgust (6 clips)" in trained.stdout
    assert "Report: runs/one/report.md" in trained.stdout


def test_a_new_block_is_trained_evaluated_and_looked_into(project):
    attentions = ["--attentions", "channel", "temporal:TemporalAttention"]
    trained = run(project, "train.py", *FLAGS, *attentions)
    assert trained.returncode == 0, trained.stderr
    assert "3D ResNet with channel, temporal:TemporalAttention" in trained.stdout
    (path,) = (project / "runs").glob("mylab-meranet-channel+TemporalAttention-*")
    kept = [p.read_bytes() for p in path.glob("folds/*/weights/**/*") if p.is_file()]
    assert any(b"TemporalAttention_0" in one for one in kept)
    evaluated = run(project, "eval.py", f"--run={path}")
    assert "each clip has the same class" in evaluated.stdout, evaluated.stderr
    looked = run(project, "saliency.py", f"--run={path}", "--number=1")
    assert looked.returncode == 0, looked.stderr


def test_a_new_recogniser_is_trained_evaluated_and_explained(project):
    model = ["--model=framenet:FRAMENET"]
    flags = [flag for flag in FLAGS if flag not in SMALLEST[2:]]
    listed = run(project, "train.py", *model, "--help").stdout
    assert "--dropout" in listed and "--learning_rate" in listed
    assert "--kernel_size" not in listed
    trained = run(project, "train.py", *flags, *model, "--features=4", "--epochs=2")
    assert trained.returncode == 0, trained.stderr
    assert "FrameNet, preset small, fp32, on 1 x cpu" in trained.stdout
    (path,) = (project / "runs").glob("mylab-framenet-*")
    evaluated = run(project, "eval.py", f"--run={path}")
    assert "each clip has the same class" in evaluated.stdout, evaluated.stderr
    looked = run(project, "saliency.py", f"--run={path}", "--number=1")
    assert looked.returncode == 0, looked.stderr
    assert "Grad-CAM is of Conv_0" in looked.stdout or "not known" in looked.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=framenet"], "--model=framenet is no recogniser"),
        (["--model=meranett"], "Did you mean meranet?"),
        (["--model=framenet:Nothing"], "module 'framenet' has no attribute 'Nothing'"),
        (["--model=nowhere:NET"], "No module named 'nowhere'"),
        (["--model=framenet:FrameNet"], "Expected a meranet_jax.recognisers.Network"),
        (["--model=framenet:FRAMENET", "--width=4"], "is a flag of --model=meranet"),
        (["--model=framenet:FRAMENET", "--input=flow"], "accepts rgb"),
        (["--model=lbp_top", "--epochs=3"], "is a flag of --model=meranet"),
        (["--model=resnet3d", "--no-attention"], "choose --model=resnet3d"),
    ],
)
def test_what_is_no_recogniser_is_refused(project, flags, message):
    refused = run(project, "train.py", "--dataset=mylab", "--data_dir=none", *flags)
    assert refused.returncode == 1
    assert message in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr and not (project / "none").exists()


# The likeliest mistake: the map itself, and not what it scales.
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
    ("attentions", "told"),
    [
        (["temporal"], "--attentions temporal: name, each once, channel"),
        (["channel", "channel"], "each once"),
        (["temporal:Nothing"], "module 'temporal' has no attribute 'Nothing'"),
        (["nowhere:Attention"], "No module named 'nowhere'"),
        (["os:system"], "system in os is no class of Flax modules"),
        (["flax.linen:Dense"], "it is made with conv alone, but "),
        (["mapping:Map"], "must return the shape of its input"),
    ],
)
def test_what_is_no_block_is_told(project, attentions, told):
    there = sorted((project / "runs").glob("*"))
    (project / "mapping.py").write_text(_MAP)
    flags = [*FLAGS, "--data_dir=unwritten", "--attentions", *attentions]
    refused = run(project, "train.py", *flags)
    assert refused.returncode == 1 and told in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (project / "unwritten").exists()  # told before anything is prepared
    assert sorted((project / "runs").glob("*")) == there
