"""``reproduce.py spotting`` on a generated copy of long recordings without a face."""

import csv

import pytest
from rich.console import Console

from datasets import DataError, spotting_recordings
from meranet_jax.prediction import spotting_experiment, spotting_score
from tests.datasets.long_trees import rows_of, write_table
from tests.datasets.tree import RAW, touch, write_clip

pytestmark = pytest.mark.e2e


@pytest.fixture
def start(tmp_path):
    """Returns a function that runs the program on the flags, and what it wrote."""

    def run(*flags):
        spotting_experiment.main(
            [*flags, f"--results_dir={tmp_path / 'results'}"],
            Console(quiet=True),
            generated=spotting_recordings.generated,
            licensed=spotting_recordings.licensed,
        )

    return run


def test_long_recordings_of_a_copy_are_scored_once(start, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    rows = rows_of("samm")
    # Of 006_1 two micro-expressions and a macro-expression, of 007_1 one
    write_table(copy, "samm", [rows[0], rows[79], rows[159], rows[1]])
    for place, name in enumerate(("006_1", "007_1")):
        folder = copy / "SAMM_longvideos" / name
        names = {number: f"{name}_{number:04d}.jpg" for number in range(1, 61)}
        touch(folder, *names.values())
        write_clip(folder, place, {n: names[n] for n in (1, 60)}, RAW)
    flags = ["--dataset=samm", f"--manual_dir={copy}"]
    start(*flags)
    results = tmp_path / "results/spotting/samm"
    with (results / "spotting.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["group"], first["recording"]) == ("samm", "sub06/006_1")
    assert (first["micro_true"], first["macro_true"]) == ("2", "1")
    assert (second["recording"], second["micro_true"]) == ("sub07/007_1", "1")
    assert first["frames"] == "60" and float(first["minutes"]) == 60 / 200 / 60
    assert first["faces"] == first["micro_found"] == "0"
    text = (results / "spotting.md").read_text()
    assert "| samm | 2 | micro | 0.01 | 3 | 0 | 0 | 0.000 | 0.000 | 0.000 |" in text
    assert "| samm | 2 | micro and macro | 0.01 | 4 |" in text
    assert "- samm: SAMM Long Videos" in text and "No face was found" in text
    # The files between the first and the last are empty.
    assert "Fewer frames could be analysed than 30 a second" in text
    monkeypatch.setattr(spotting_score, "measure", None)  # it would fail
    start(*flags)
    assert (results / "spotting.md").read_text() == text


def test_a_copy_is_needed(start, tmp_path):
    with pytest.raises(DataError, match="give it with --manual_dir=DIR"):
        start("--dataset=samm")
    with pytest.raises(DataError, match="for cas_me_2, casme3, samm, smic"):
        start("--dataset=casme2", f"--manual_dir={tmp_path}")
    with pytest.raises(DataError, match="The sets are drawn_30"):
        start("--sets", "none")
    assert not (tmp_path / "results").exists()
