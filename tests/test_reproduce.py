"""Tests of reproduce.py on a generated copy of CASME II."""

import csv
import shlex
from unittest import mock

import numpy as np
import pytest
from rich.console import Console

from datasets.prepare import records_of
from meranet_jax import flags as flags_module
from meranet_jax.analysis import (
    artifacts,
    complexity,
    experiments,
    reproduction,
    reproduction_flags,
)
from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures
from meranet_jax.training import step
from tests.meranet_jax.running import touch_figure
from tests.programs import flags_of_a_copy

pytestmark = pytest.mark.e2e

SYSTEMS = ["meranet", "resnet3d", "fmbh", "ststnet"]
TABLE1 = ["table1", "--protocols", "holdout", "--systems", *SYSTEMS]


@pytest.fixture(scope="module", autouse=True)
def no_figures_of_runs():
    """Makes the figures of the runs' reports empty files, which is faster."""
    save = figures.save

    def save_results(figure, path):
        (save if "results" in path.parts else touch_figure)(figure, path)

    with mock.patch.object(figures, "save", save_results):
        yield


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    results = f"--results_dir={folder / 'results'}"
    few = ["--epochs=2", "--seeds=2", "--batch_size=8", results]
    return folder, [*flags_of_a_copy(folder), *few]


@pytest.fixture(scope="module")
def table1(flags):
    """The folder that contains the results of table1."""
    folder, given = flags
    reproduction.main([*TABLE1, *given], records_of, Console(quiet=True))
    return folder


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_table_1_compares_systems_with_one_another_and_the_paper(flags, table1):
    made = table1 / "results" / "table1"
    first, second, third, fourth = rows(made / "table1.csv")
    assert [row["model"] for row in (first, second, third, fourth)] == SYSTEMS
    published = [row["published_accuracy"] for row in (first, second, third, fourth)]
    assert published == ["0.917", "0.833", "0.6911", ""]
    assert "hold-out" in first["published_protocol"]
    assert third["published_protocol"] == "LOSO"
    # Flags of training are for all networks, those of the clip for the paper's two.
    assert {first["input"], second["input"]} == {"rgb"}
    assert (third["input"], fourth["input"]) == ("raw_flow", "onset_apex_strain")
    assert fourth["parameters"] == "1683" and third["features"] == "200"
    for row in (first, second, third, fourth):
        assert row["seeds"] == "2" and 0 <= float(row["uf1"]) <= 1
        assert float(row["seconds_per_fold"]) > 0
    assert first["reference"] == "" and second["reference"] == "MERANet"
    difference = float(second["uf1"]) - float(first["uf1"])
    assert float(second["difference"]) == pytest.approx(difference)
    assert len(second["mcnemar_p"].split()) == 2
    text = (made / "table1.md").read_text()
    assert "## casme2, holdout, seeds: 2" in text and "UF1 0.7353" in text
    assert "| FMBH, our reading | 2018 | small | flow | 200 features |" in text
    assert "- STSTNet: epochs 2 instead of 200; batch_size 8 instead of 16" in text
    assert text.endswith(
        f"Command: `python reproduce.py {shlex.join([*TABLE1, *flags[1]])}`\n"
    )
    assert (made / "table1.png").exists()


def test_finished_runs_are_reused(flags, table1, monkeypatch):
    monkeypatch.setattr(reproduction, "train_run", None)
    test_table_1_compares_systems_with_one_another_and_the_paper(flags, table1)
    _, given = flags
    reproduction.main([*TABLE1, *given], records_of, Console(quiet=True))


def test_results_of_other_runs_are_kept(flags, table1, tmp_path, capsys):
    _, given = flags
    given = [*given, f"--results_dir={tmp_path}"]
    made = tmp_path / "table1"
    for system in ("resnet3d", "resnet3d", "meranet"):
        arguments = ["table1", "--protocols", "holdout", "--systems", system]
        console = Console(soft_wrap=True)
        reproduction.main([*arguments, *given], records_of, console)
    (kept,) = made.glob("earlier-*")  # the same results again are replaced
    assert [row["model"] for row in rows(kept / "table1.csv")] == ["resnet3d"]
    assert [row["model"] for row in rows(made / "table1.csv")] == ["meranet"]
    assert capsys.readouterr().out.count(f"are now in {kept}.") == 1


def test_results_that_cannot_be_written_are_refused_before_training(flags, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    arguments = ["figure5", *flags[1], f"--results_dir={file}"]  # not trained yet
    with pytest.raises(UserError, match="--results_dir=.*file: cannot write to"):
        reproduction.main(arguments, None, Console(quiet=True))


@pytest.mark.parametrize("changed", ["--classes=all", "--epochs=3"])
def test_a_run_with_other_settings_is_refused(flags, table1, changed):
    _, given = flags
    arguments = [*TABLE1, *given, changed]
    message = r"Choose another --runs_dir, or delete this folder\.$"
    with pytest.raises(UserError, match=message) as error:
        reproduction.main(arguments, records_of, Console(quiet=True))
    assert "--overwrite" not in str(error.value) and "--name" not in str(error.value)


def test_several_processes_are_refused(flags, table1, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="reproduce.py runs in one process"):
        reproduction.main(["table1", *flags[1]], records_of, Console(quiet=True))


def test_missing_runs_are_printed_as_commands(flags, table1, capsys):
    _, given = flags
    reproduction.main(
        ["figure4", "--missing", *given], records_of, Console(soft_wrap=True)
    )
    (command,) = (
        capsys.readouterr().out.splitlines()
    )  # the other run exists from table1
    assert command.startswith("python train.py --dataset=casme2 ")
    settings = flags_module.parse(shlex.split(command)[2:]).settings
    assert settings.shared == "mlp" and settings.epochs == 2
    assert settings.stage_sizes == (1,)


def test_no_missing_run_is_reported(flags, table1, capsys):
    reproduction.main([*TABLE1, "--missing", *flags[1]], None, Console())
    printed = capsys.readouterr()
    assert printed.out == "" and "4 of 4 are finished" in printed.err


def test_a_damaged_report_is_written_again(flags, table1, tmp_path):
    report = table1 / "runs" / "casme2-resnet3d-small-seed0-1" / "report.json"
    before = report.read_text()
    report.write_text(before[:20])
    arguments = ["table1", "--protocols", "holdout", "--systems", "resnet3d"]
    arguments += [*flags[1], f"--results_dir={tmp_path}"]
    reproduction.main(arguments, records_of, Console(quiet=True))
    assert report.read_text() == before


def test_figure_4_has_a_curve_for_each_variant(flags, table1):
    _, given = flags
    reproduction.main(["figure4", *given], records_of, Console(quiet=True))
    made = table1 / "results" / "figure4"
    assert {path.name for path in made.iterdir()} == {
        *("figure4.csv", "figure4.md", "figure4.png", "figure4.svg", "sources.json")
    }
    found = rows(made / "figure4.csv")
    assert [(row["epoch"], row["seeds"]) for row in found] == 2 * [
        ("1", "2"),
        ("2", "2"),
    ]
    assert "of 2 epochs" in (made / "figure4.md").read_text()


def test_figure_6_has_maps_and_the_sanity_check(flags, table1, monkeypatch):
    _, given = flags
    monkeypatch.setattr(artifacts, "SHOWN", 2)
    monkeypatch.setattr(artifacts, "CHECKED", 1)
    reproduction.main(["figure6", *given], records_of, Console(quiet=True))
    made = table1 / "results" / "figure6"
    assert (made / "casme2.png").exists() and len(list(made.glob("*.gif"))) == 4
    checks = rows(made / "sanity.csv")
    assert checks[0]["randomised"] == "nothing"
    assert all(float(checks[0][kind]) > 0.99 for kind in ("grad_cam", "smooth_grad"))
    assert checks[-1]["randomised"] == "stem"
    # Licensed data sets have no motion masks.
    assert "do not record where the face moved" in (made / "figure6.md").read_text()


def test_experiments_share_their_runs():
    base = TrainConfig(dataset="casme2", seeds="5")
    needed = {
        name: experiments.plan(name, [base], ("holdout", "loso"), 1, SYSTEMS[:2])
        for name in ("table1", "figure4", "figure5", "figure6")
    }
    of = {name: {c.name: c for c in plan.values()} for name, plan in needed.items()}
    assert set(of["figure6"]) < set(of["table1"])
    (shared,) = set(of["figure4"]) & set(of["figure5"])
    assert of["figure4"][shared] == of["figure6"][shared]
    names = [name for plan in of.values() for name in plan]
    assert len(set(names)) == 4 + 1 + 2
    configs = {name: plan[name] for plan in of.values() for name in plan}
    assert configs["casme2-meranet-paper-loso-seed0"].seeds is None
    assert configs["casme2-meranet-paper-seed0-4-kernel7"].settings.kernel_size == 7


@pytest.mark.parametrize(("loso_seeds", "seeds"), [(2, (3, 7)), (3, (3, 7, 9))])
def test_number_of_seeds_under_loso(loso_seeds, seeds):
    base = TrainConfig(dataset="casme2", seeds="3,7,9")
    plan = experiments.plan("table1", [base], ("loso",), loso_seeds, SYSTEMS)
    assert {config.all_seeds for config in plan.values()} == {seeds}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table2"], "There is no experiment table2. Choose one of table1, figure4"),
        (["table1", "--name=mine"], "--name: reproduce.py sets this flag"),
        (["table1", "--model=resnet3d"], "--model: reproduce.py sets this flag"),
        (["table1", "--model=lbp_top"], "--model: reproduce.py sets this flag"),
        (["table1", "--loso_seeds=0"], "--loso_seeds=0 must be at least 1"),
        (["table1", "--protocol=kfold"], "--protocol: reproduce.py sets this flag"),
        (["figure4", "--shared=mlp"], "--shared: reproduce.py sets this flag"),
        (["parameters", "--dataset=casme,casme2"], "Name one --dataset"),
        (["table1", "--protocols", "lopo"], "--protocols lopo: there is no lopo. Name"),
        (["table1", "--epoch=3"], "Did you mean --epochs"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(UserError, match=message):
        reproduction.main(arguments, records_of, Console(quiet=True))


def test_each_data_set_is_used_separately():
    both = "--manual_dir=casme=/one,casme2=/two"
    _, _, needed, _ = reproduction_flags.parse(
        ["figure6", "--dataset=casme,casme2", both]
    )
    assert {
        (config.dataset, config.manual_dir, config.classes)
        for config in needed.values()
    } == {("casme", "/one", "paper"), ("casme2", "/two", "paper")}
    three = "--dataset=synthetic/easy,synthetic,synthetic/hard"
    assert len(reproduction_flags.parse(["figure6", three])[2]) == 6


def test_significance_of_differences_of_losses():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (5, 8))
    found = {"it": {"A": noise + 0.5, "B": noise + 1 + rng.normal(0, 0.01, (5, 8))}}
    text = experiments.describe_losses("Title", "A is lower.", found)
    assert "lower in 8 of 8 epochs" in text
    assert "no significant difference" not in text
    equal = {"it": {"A": noise, "B": noise[:, ::-1]}}
    assert "no significant difference" in experiments.describe_losses(
        "Title", "", equal
    )


def test_parameter_counts_of_the_paper_are_derived():
    config = TrainConfig(frames=16)
    measured = [
        complexity.Measured(np.array([2.0, 3.0]), 5_000_000),
        complexity.Measured(np.array([1.0, 1.0]), 3_000_000),
    ]
    found, text = complexity.parameters(config, 3, lambda *arguments: measured)
    assert found[-1] == {
        "block": "all",
        "3D ResNet": 33_167_811,
        "attention": 89_040,
        "MERANet": 33_256_851,
    }
    assert "33,371,472 + 2 x 87,040 + 2,000 = 33,547,552." in text
    assert "takes 2.50 times as long with attention (median; 2.00 to" in text
    assert "5 MB of temporary memory with attention, 3 MB without" in text


def test_steps_are_measured_in_turns():
    config = TrainConfig.from_flags(
        width=4, stage_sizes=(1,), size=16, frames=4, batch_size=2
    )
    found = complexity.take_turns([config, config], 3, turns=2)
    assert [len(one.seconds) for one in found] == [2, 2]
    assert all((one.seconds > 0).all() for one in found)
    assert all(one.temporary_bytes > 0 for one in found)


def test_the_measured_step_is_that_of_the_run(monkeypatch):
    traced, train_step = [], step.train_step

    def note(state, batch, **arguments):
        traced.append(({name: a.dtype for name, a in batch.items()}, arguments))
        return train_step(state, batch, **arguments)

    monkeypatch.setattr(step, "train_step", note)
    small = {"width": 4, "stage_sizes": (1,), "size": 16, "frames": 4, "batch_size": 4}
    config = TrainConfig.from_flags(
        input="flow",
        augment=("rotate",),
        init="first.npz",
        freeze="stem",
        accumulate=2,
        **small,
    )
    complexity.take_turns([config.change(flip=False), config], 3, turns=1)
    (types, first), (_, second) = traced
    assert types["clip"] == np.float16
    assert (first["flip"], second["flip"]) == (False, True)
    assert first["augment"] == ("rotate",)
    assert first["frozen"] == {"stem", "stem_norm"}
    assert first["parts"] == 2
