"""Tests of saliency.py on a run of generated clips."""

import pytest

import saliency
from meranet_jax.errors import UserError
from tests.programs import flags_of_a_copy, run_of, train

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    flags = [*flags_of_a_copy(tmp_path_factory.mktemp("seen")), "--epochs=1"]
    train(*flags, "--name=seen")
    return run_of(flags, "seen")


# test_extending.py starts it as a program.
def test_figures_of_some_test_clips(run, capsys):
    saliency.main(str(run), number=2)
    names = {path.name for path in (run / "saliency").iterdir()}
    assert {"overview.png", "overview.svg"} < names
    kinds = sorted(name.rpartition(".")[2] for name in names)
    assert kinds == ["gif"] * 2 + ["png"] * 3 + ["svg"] * 3
    assert "do not say where the face moved" in capsys.readouterr().out


def test_a_clip_and_a_layer_can_be_chosen(run, tmp_path, capsys):
    test = (run / "predictions.csv").read_text().splitlines()[1].partition(",")[0]
    saliency.main(str(run), clip=test, layer="stem", out=str(tmp_path / "out"))
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert test.replace("/", "_") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"run": "nowhere"}, "nowhere is not a folder"),
        ({"number": 0}, "--number=0 must be at least 1"),
        (
            {"layer": "block9_9"},
            "no layer --layer=block9_9. Choose one of stem, block1_1",
        ),
        ({"clip": "nobody"}, "nobody is not a clip in"),
        ({"seed": 5}, "has no seed 5"),
        ({"target": "boredom"}, "--target=boredom is not a class"),
    ],
)
def test_refusals(run, arguments, message):
    with pytest.raises(UserError, match=message):
        saliency.main(**{"run": str(run)} | arguments)
