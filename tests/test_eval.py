"""Tests of eval.py."""

import json
import shutil

import numpy as np
import pytest

import eval as evaluation
from meranet_jax.errors import UserError
from meranet_jax.evaluation import calibration, predictions
from meranet_jax.runs import reader, run_calibration
from meranet_jax.runs.cross_dataset import Target
from tests.datasets import casme2_tree, casme_tree
from tests.programs import SMALLEST, program, started, train

pytestmark = pytest.mark.e2e

LOSO = ("--protocol=loso", "--epochs=1", "--classes=megc3", "--batch_size=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of CASME II, its records, and two runs over the same three folds."""
    folder = tmp_path_factory.mktemp("runs")
    casme2_tree.write_tree(folder / "copy", rows=casme2_tree.BRIEF)
    for name, *flags in (("first",), ("second", "--model=resnet3d", "--seed=1")):
        trained = train(
            "--dataset=casme2",
            f"--manual_dir={folder / 'copy'}",
            f"--data_dir={folder / 'data'}",
            f"--runs_dir={folder / 'runs'}",
            f"--name={name}",
            "--protocol=kfold",
            "--folds=3",
            "--epochs=1",
            *([f"--split={folder / 'runs/first/split.json'}"] if flags else []),
            *flags,
            *SMALLEST,
        )
        (folder / name).write_text(trained)
    return folder


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of a run, to be damaged."""
    shutil.copytree(folder / "runs" / "first", tmp_path / "run")
    return tmp_path / "run"


def refusal(**arguments):
    """Runs eval.py in this process, which is faster; returns its error message."""
    with pytest.raises(UserError) as refused:
        evaluation.main(**arguments)
    return str(refused.value)


def test_results_are_recomputed(folder):
    evaluated = program("eval.py", f"--run={folder / 'runs' / 'first'}")
    assert evaluated.returncode == 0, evaluated.stderr
    *numbers, last = evaluated.stdout.splitlines()
    assert last.startswith("Equal to")
    assert "each clip has the same predicted class" in last
    assert "UF1" in evaluated.stdout
    for line in numbers:
        assert line in (folder / "first").read_text()


def test_records_may_be_moved(folder, copied, tmp_path):
    shutil.copytree(folder / "data", tmp_path / "data")
    config = json.loads((copied / "config.json").read_text())
    moved = ["/nowhere/" + "/".join(config["records"][0].split("/")[-3:])]
    (copied / "config.json").write_text(json.dumps(config | {"records": moved}))
    assert "No prepared records in /nowhere" in refusal(run=str(copied))
    evaluation.main(run=str(copied), data_dir=str(tmp_path / "data"))


def test_a_changed_report_is_detected(copied):
    report = json.loads((copied / "report.json").read_text())
    report["metrics"]["uf1"]["mean"] = 1.0
    (copied / "report.json").write_text(json.dumps(report))
    assert "metrics in" in refusal(run=str(copied))


def test_exchanged_weights_are_detected(copied, capsys):
    one, other, _ = sorted((copied / "folds").iterdir())
    shutil.rmtree(one / "weights")
    shutil.copytree(other / "weights", one / "weights")
    # After so little training the predicted classes may be equal; the probabilities
    # differ.
    try:
        evaluation.main(run=str(copied))
    except UserError as error:
        assert "predict another class" in str(error)
    else:
        evaluated = capsys.readouterr().out
        assert float(evaluated.partition("differ by at most ")[2].split()[0]) > 1e-4


def _damage(name, change):
    def damage(run):
        path = run / name if "*" not in name else next(run.glob(name))
        path.write_text(change(path.read_text()))

    return damage


def _delete(name):
    def damage(run):
        path = next(run.glob(name))
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


DAMAGED = {
    "no config": (_delete("config.json"), "has no config.json"),
    "no records named": (
        _damage("config.json", lambda text: '{"config": {}}'),
        "does not have the content that this version writes",
    ),
    "an unknown setting": (
        _damage("config.json", lambda text: text.replace('"cnn"', '"rnn"')),
        "--shared=rnn is none of cnn, mlp",
    ),
    "a list as split": (
        _damage("split.json", lambda text: "[1]"),
        "does not have the content",
    ),
    "half a split": (
        _damage("split.json", lambda t: t[:-200]),
        "does not have the content",
    ),
    "an empty report": (
        _damage("report.json", lambda text: "{}"),
        "report.json differ from",
    ),
    "half a report": (_damage("report.json", lambda text: text[:40]), "Cannot read"),
    "no report": (_delete("report.json"), "not all of its folds are finished"),
    "no predictions": (_damage("predictions.csv", lambda text: ""), "cannot be read"),
    "a prediction less": (
        _damage(
            "predictions.csv", lambda text: "\n".join(text.split("\n")[:-2]) + "\n"
        ),
        "differ from the values computed from predictions.csv",
    ),
    "no weights": (_delete("folds/*/weights"), "No weights in"),
    "other records": (
        lambda run: [
            _damage(name, lambda text: text.replace('print": "', 'print": "f'))(run)
            for name in ("config.json", "report.json")
        ],
        "are not those that",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_runs_are_refused(copied, case):
    damage, message = DAMAGED[case]
    damage(copied)
    assert message in refusal(run=str(copied))


def test_two_runs_are_compared(folder, capsys):
    runs = [folder / "runs" / name for name in ("first", "second")]
    evaluation.main(compare=tuple(map(str, runs)))
    compared = capsys.readouterr().out
    assert "The same 44 test clips" in compared
    assert "MERANet" in compared and "3D ResNet" in compared
    means = [
        json.loads((run / "report.json").read_text())["metrics"]["uf1"]["mean"]
        for run in runs
    ]
    assert f"A {means[0]:.3f}  B {means[1]:.3f}" in compared
    assert f"{means[0] - means[1]:+.3f}" in compared
    assert "p = " in compared


def test_a_run_is_calibrated_when_it_is_finished_and_again_on_demand(copied, capsys):
    run, report = reader.read(copied), (copied / "report.json").read_bytes()
    made = run_calibration.read_calibration(run)
    predicted = predictions.read(copied / "predictions.csv")
    assert made == calibration.calibrate(predicted, 0.1) and made.new_people
    evaluation.main(run=str(copied), calibrate=True, miss=0.4)
    printed = capsys.readouterr().out
    again = run_calibration.read_calibration(run)
    assert again == calibration.calibrate(predicted, 0.4)
    saved = json.loads((copied / "calibration.json").read_text())
    assert (copied / "report.json").read_bytes() == report
    before = json.loads(report)["calibration"]["ece"]
    assert saved["reliability"]["ece"]["before"] == before
    scaled = calibration.calibrate_by_others(predicted)
    loss = -np.log(scaled[np.arange(44), predicted.truth]).mean()
    assert f"{before:.3f} before, " in printed
    assert f"negative log-likelihood: {saved['reliability']['nll']['before']:.3f} " in (
        printed
    )
    assert f" before, {loss:.3f} after" in printed
    assert f"temperature: {again.temperature:.3f}" in printed
    assert f"{again.coverage:.3f} of the clips of a person (0.6 wanted)" in printed
    assert "does not carry over to other cameras or people" in printed
    assert "too few" not in printed
    # What was chosen stays when the run is finished again.
    run_calibration.calibrate_if_missing(run, predicted)
    assert run_calibration.read_calibration(run) == again


def test_too_few_people_for_the_wanted_coverage_are_named(copied, capsys):
    evaluation.main(run=str(copied), calibrate=True, miss=0.05)
    assert run_calibration.read_calibration(reader.read(copied)).threshold == 0
    printed = capsys.readouterr().out
    assert "too few people: a coverage of 0.95 needs at least 19" in printed


def test_a_stale_or_damaged_calibration_is_refused(copied):
    run, file = reader.read(copied), copied / "calibration.json"
    good = file.read_text()
    for old, new in (
        ('"temperature": ', '"temperature": -'),
        ('"miss": ', '"mist": '),
        ('"subjects": ', '"subjects": 0.'),
        (f'"{next(iter(run.classes))}",', '"unknown",'),
        ("{", ""),
    ):
        assert old in good
        file.write_text(good.replace(old, new, 1))
        with pytest.raises(UserError, match="json is damaged.*--calibrate"):
            run_calibration.read_calibration(run)
    file.write_text(good)
    predicted = predictions.read(copied / "predictions.csv").select(np.arange(43))
    predictions.write(predicted, copied / "predictions.csv")
    with pytest.raises(UserError, match="was made from other predictions"):
        run_calibration.read_calibration(run)
    file.unlink()
    assert run_calibration.read_calibration(run) is None


def test_a_run_is_tested_at_a_lower_frame_rate(folder, copied, capsys):
    before = (copied / "report.json").read_bytes()
    evaluation.main(run=str(copied), rate=30)
    printed = capsys.readouterr().out
    assert (copied / "report.json").read_bytes() == before
    report = json.loads((copied / "lower_rate" / "30hz" / "report.json").read_text())
    assert report["frame_rates"] == {"casme2": [200.0]} and report["phases"] == 3
    complete = predictions.read(copied / "predictions.csv")
    values = []
    for phase in (1, 2, 3):
        name = f"predictions-phase{phase}.csv"
        low = predictions.read(copied / "lower_rate" / "30hz" / name)
        for column in ("clips", "subjects", "seeds", "folds", "truth"):
            np.testing.assert_array_equal(
                getattr(low, column), getattr(complete, column)
            )
        assert 1e-6 < abs(low.probabilities - complete.probabilities).max()
        values.append(low.correct.mean())
    found = report["metrics"]["accuracy"]
    assert found["lower"]["by_phase"] == pytest.approx(values)
    assert found["lower"]["mean"] == pytest.approx(np.mean(values))
    assert found["full"]["mean"] == pytest.approx(complete.correct.mean())
    low, high = found["difference"]["interval"]
    assert low <= found["lower"]["mean"] - complete.correct.mean() <= high
    distinct = report["distinct_frames"]
    assert 4 <= distinct["lower"]["mean"] <= 5 < distinct["full"]["mean"]
    assert f"distinct frames: {distinct['lower']['mean']:.1f} of 16" in printed
    assert "fewer than 8 distinct frames" in printed
    text = (copied / "lower_rate" / "30hz" / "report.md").read_text()
    assert "| UF1 |" in text and "nearest to the instants" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Give one of --run=RUN, --compare A B, --merge PART PART ..."),
        ({"run": "a", "compare": ("a", "b")}, "Give one of"),
        ({"run": "nowhere"}, "nowhere is not a folder"),
        ({"run": "."}, "has no config.json: it is not a run folder"),
        ({"compare": ("nowhere", ".")}, "nowhere is not a folder"),
        ({"merge": ("nowhere",)}, "nowhere is not a folder"),
        ({"run": "a", "name": "b"}, "--name can only be used with --merge"),
        ({"merge": ("a",), "data_dir": "b"}, "--data_dir can only be used with --run"),
        ({"compare": ("a.csv", "b")}, "the first must be a run"),
        ({"predictions": "a"}, "--predictions needs the data set of the clips"),
        ({"run": "a", "split": "b"}, "--split can only be used with --predictions"),
        ({"run": "a", "report": "b"}, "--report can only be used with --predictions"),
        (
            {"predictions": "a", "target": Target(dataset="casme4")},
            "no data set named 'casme4'. Did you mean casme",
        ),
        ({"run": "a", "target": Target(label="b")}, "--label can only be used with"),
        ({"compare": ("a", "b"), "rate": 30}, "--rate can only be used with --run"),
        ({"merge": ("a",), "calibrate": True}, "--calibrate can only be used with"),
        ({"run": "a", "miss": 0.2}, "--miss can only be used with --calibrate"),
        (
            {"run": "a", "calibrate": True, "rate": 30},
            "--rate and --calibrate cannot be used together",
        ),
        (
            {"compare": ("a", "b"), "target": Target(dataset="c")},
            "--dataset can only be used with --run",
        ),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    assert message in refusal(**arguments)


def test_an_error_is_printed_without_a_traceback():
    failed = program("eval.py", "--run=nowhere")
    assert failed.returncode == 1
    assert failed.stderr == "error: nowhere is not a folder.\n"


@pytest.fixture
def score(folder, tmp_path):
    """Scores predictions of the clips of the runs; returns what is printed."""

    def function(predictions, capsys, **arguments):
        capsys.readouterr()
        evaluation.main(
            predictions=str(predictions),
            target=Target(dataset="casme2"),
            data_dir=str(folder / "data"),
            **arguments,
        )
        return capsys.readouterr().out

    return function


def test_predictions_of_a_run_are_scored_like_the_run(folder, score, tmp_path, capsys):
    run = folder / "runs" / "first"
    written = tmp_path / "scored.json"
    printed = score(run / "predictions.csv", capsys, report=str(written))
    report = json.loads((run / "report.json").read_text())
    scored = json.loads(written.read_text())
    equal = ("clips", "subjects", "metrics", "by_class", "pooled", "calibration")
    equal += ("by_seed", "by_fold", "fold_means", "folds", "seeds", "datasets")
    for name in equal:
        assert scored[name] == report[name], name
    for name in ("counts", "left_out"):
        assert scored["data"][name] == report["data"][name]
    # The same lines as of the run, from the accuracy on
    numbers = (folder / "first").read_text().partition("\naccuracy: ")[2]
    assert numbers.partition("\n\nReport:")[0] in printed
    assert "How the predictions were made is unknown to this program" in printed
    confusion = report["pooled"]["confusion"]
    rows = printed.partition("Confusion matrix")[2].splitlines()[2:5]
    assert [[int(n) for n in row.split()[1:]] for row in rows] == confusion


def test_predicted_classes_are_scored_without_calibration(
    folder, score, tmp_path, capsys
):
    run, written = folder / "runs" / "first", tmp_path / "scored.json"
    rows = [
        line.split(",") for line in (run / "predictions.csv").read_text().splitlines()
    ]
    lines = [f"{row[0]};{row[6]};{row[3]}" for row in rows]
    other = next(row for row in casme2_tree.SOME if row.emotions[1] == "others")
    lines.append(f"sub{other.subject:02}/{other.clip};others;0")
    (tmp_path / "own.csv").write_text("\n".join(lines))
    printed = score(tmp_path / "own.csv", capsys, report=str(written))
    assert "calibration" not in printed and "fold" not in printed
    assert "note: 1 prediction not scored, since the clip is left out: others, " in (
        printed
    )
    report = json.loads((run / "report.json").read_text())
    scored = json.loads(written.read_text())
    assert "calibration" not in scored
    assert scored["pooled"] == report["pooled"]
    for name, found in scored["metrics"].items():
        assert found == report["metrics"][name]
    assert report["metrics"].keys() - scored["metrics"].keys() == {"ece"}
    message = refusal(
        predictions=str(tmp_path / "own.csv"),
        target=Target(dataset="casme2"),
        report=str(written),
    )
    assert "exists and is not replaced" in message


def test_the_test_clips_of_a_split_are_scored(folder, score, tmp_path, capsys):
    run = folder / "runs" / "first"
    split = json.loads((run / "split.json").read_text())
    first = split["seeds"]["0"][0]
    split = {"protocol": "holdout", "seeds": {"0": [first]}}
    (tmp_path / "split.json").write_text(json.dumps(split))
    header, *lines = (run / "predictions.csv").read_text().splitlines()
    lines = [line for line in lines if line.split(",")[0] in first["test"]]
    own = tmp_path / "own.csv"
    own.write_text("\n".join([header, *lines]))
    printed = score(own, capsys, split=str(tmp_path / "split.json"))
    assert f"split.json are scored (holdout): {len(lines)} test clips" in printed
    with pytest.raises(UserError, match="Predict all of them. If they are the test cl"):
        score(own, capsys)
    own.write_text("\n".join([header, *lines[1:]]))
    with pytest.raises(UserError, match="1 of .* clips of the test parts of the split"):
        score(own, capsys, split=str(tmp_path / "split.json"))
    split["seeds"]["0"][0]["train"].append(first["test"][0])
    (tmp_path / "split.json").write_text(json.dumps(split))
    with pytest.raises(UserError, match="Leak"):
        score(own, capsys, split=str(tmp_path / "split.json"))


def test_a_run_is_compared_with_another_program(folder, tmp_path, capsys):
    first, second = (folder / "runs" / name for name in ("first", "second"))
    evaluation.main(compare=(str(first), str(second)))
    runs = capsys.readouterr().out.splitlines()
    own = second / "predictions.csv"
    evaluation.main(compare=(str(first), str(own)))
    compared = capsys.readouterr().out.splitlines()
    assert compared[1] == f"B: {own}, predictions of another program"
    assert compared[2 : len(runs)] == runs[2:]
    assert "unknown to this program" in compared[-1]
    (tmp_path / "less.csv").write_text("".join(own.read_text().splitlines(True)[:-1]))
    message = refusal(compare=(str(first), str(tmp_path / "less.csv")))
    assert "1 of 44 clips of the test parts of the split" in message


# runs/test_fold_loop.py and training/test_resuming.py do the same without a process.
@pytest.mark.slow
def test_killed_and_sharded_loso_runs_equal_a_complete_one(folder, capsys):
    """A run that is killed and resumed, and two merged shards, have equal results."""
    flags = [
        "--dataset=casme2",
        f"--data_dir={folder / 'data'}",
        f"--runs_dir={folder / 'loso'}",
        "--devices=1",
        *SMALLEST,
        *LOSO,
    ]
    complete = train(*flags, "--name=complete")

    killed = started("train.py", *flags, "--name=killed")
    epochs = 0
    for line in killed.stdout:
        epochs += "epoch 1/1" in line
        if epochs == 2:
            killed.kill()
            break
    assert killed.wait() == -9
    killed.stdout.close()
    assert not (folder / "loso" / "killed" / "report.json").exists()
    finished = list((folder / "loso" / "killed").glob("folds/*/predictions.csv"))
    assert finished
    before = [path.stat().st_mtime_ns for path in finished]
    resumed = train(*flags, "--name=killed")
    assert "of them are finished already" in resumed
    assert [path.stat().st_mtime_ns for path in finished] == before

    for shard in ("1/2", "2/2"):
        part = train(*flags, "--name=parts", f"--fold_shard={shard}")
        assert "merge them: python eval.py --merge" in part
    parts = sorted((folder / "loso").glob("parts-shard*"))
    capsys.readouterr()
    evaluation.main(merge=tuple(map(str, parts)))
    merged = capsys.readouterr().out

    numbers = complete.partition("Protocol: ")[2].partition("\nReport:")[0]
    assert "leave-one-subject-out" in numbers
    for other in (resumed, merged):
        assert numbers in other
    tables = {
        (folder / "loso" / name / "predictions.csv").read_bytes()
        for name in ("complete", "killed", "parts")
    }
    assert len(tables) == 1


def test_a_composite_data_set(tmp_path):
    casme2_tree.write_tree(tmp_path / "two", rows=casme2_tree.BRIEF)
    casme_tree.write_tree(tmp_path / "one", release="cropped", rows=casme_tree.SOME)
    train(
        "--dataset=casme,casme2,synthetic/sketch",
        f"--manual_dir=casme={tmp_path / 'one'},casme2={tmp_path / 'two'}",
        f"--data_dir={tmp_path / 'data'}",
        f"--runs_dir={tmp_path / 'runs'}",
        "--protocol=kfold",
        "--folds=2",
        "--epochs=1",
        *SMALLEST,
        "--size=20",  # records of this size are drawn and read faster
    )
    (run,) = (tmp_path / "runs").iterdir()
    report = json.loads((run / "report.json").read_text())
    assert list(report["data"]["classes"]) == ["negative", "positive", "surprise"]
    assert set(report["by_dataset"]) == {"casme", "casme2", "synthetic/sketch"}
    assert report["by_dataset"]["synthetic/sketch"]["clips"] == 120
    pooled = np.array(report["pooled"]["confusion"])
    separate = [
        np.array(one["pooled"]["confusion"]) for one in report["by_dataset"].values()
    ]
    np.testing.assert_array_equal(sum(separate), pooled)
    # Subject 1 of each data set is another person, and may be in another part.
    (first, second) = json.loads((run / "split.json").read_text())["seeds"]["0"]
    subjects = [
        {c.rpartition("/")[0] for c in fold["test"]} for fold in (first, second)
    ]
    assert not subjects[0] & subjects[1]
    assert {"casme/sub01", "casme2/sub01", "synthetic/k01"} <= subjects[0] | subjects[1]
    evaluation.main(run=str(run))
