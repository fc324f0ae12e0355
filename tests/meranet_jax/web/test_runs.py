"""The page of runs without a browser: list, one run, comparison, damaged files."""

import json
import os
import shutil

import pytest

from meranet_jax.evaluation import comparison, predictions
from meranet_jax.runs import layout
from meranet_jax.web import run_files
from tests.meranet_jax.video.test_video_file import grey, write
from tests.meranet_jax.web.run_folders import write_runs
from tests.meranet_jax.web.serving import application, client, upload


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_runs(folder)
    # A picture that is none of a run
    shutil.copy(folder / "good" / "subjects.png", folder / "good" / "mine.png")
    return folder


@pytest.fixture(scope="module")
def browser(made, tmp_path_factory):
    app = application(tmp_path_factory.mktemp("page"), run_folder=made)
    with client(app) as opened:
        yield opened


@pytest.fixture
def copied(made, tmp_path):
    """A folder with a copy of one run, ``one``, and a browser that shows it."""
    shutil.copytree(made / "good", tmp_path / "runs" / "one")
    (tmp_path / "page").mkdir()
    app = application(tmp_path / "page", run_folder=tmp_path / "runs")
    with client(app) as opened:
        yield tmp_path / "runs" / "one", opened


def listed(browser):
    """The runs and their names, and the reasons of those that cannot be chosen."""
    found = browser.get("/api/runs").json()
    return (
        {run["name"]: run for run in found["runs"]},
        {one["name"]: one["reason"] for one in found["refused"]},
    )


def test_list_has_the_numbers_of_reports_and_reasons(browser, made):
    runs, refused = listed(browser)
    assert list(runs) == [
        "Weights of the package (generated faces)",
        "good",
        "more/poor",
        "seeds",
    ]
    report = json.loads((made / "good" / "report.json").read_text())
    accuracy = report["metrics"]["accuracy"]
    shown = runs["good"]["metrics"]["accuracy"]
    assert shown["value"] == accuracy["mean"]
    assert shown["interval"] == accuracy["interval"]
    assert runs["good"]["clips"] == 30 and runs["good"]["subjects"] == 6
    assert runs["good"]["datasets"] == "casme2" and runs["good"]["protocol"] == "loso"
    assert runs["good"]["started"] == "2026-01-02T03:04:05+00:00"
    assert list(refused) == ["unfinished"] and "1 of 2 folds" in refused["unfinished"]
    choices = browser.get("/api/state").json()["runs"]
    assert [one["title"] for one in choices] == list(runs)
    assert [one["id"] for one in choices] == [one["id"] for one in runs.values()]
    assert str(made) not in browser.get("/api/runs").text


def test_one_run(browser, made):
    identity = listed(browser)[0]["good"]["id"]
    text = browser.get(f"/api/runs/{identity}").text
    assert str(made) not in text
    shown = json.loads(text)
    report = json.loads((made / "good" / "report.json").read_text())
    assert shown["classes"]["confusion"] == report["pooled"]["confusion"]
    columns = [sum(c) for c in zip(*report["pooled"]["confusion"], strict=True)]
    for index, one in enumerate(shown["classes"]["by_class"]):
        saved = report["pooled"]["by_class"][one["name"]]
        assert (one["recall"], one["f1"]) == pytest.approx(
            (saved["recall"], saved["f1"])
        )
        correct = report["pooled"]["confusion"][index][index]
        assert one["precision"] == correct / columns[index]
    assert shown["report"] == (made / "good" / "report.md").read_text()
    assert ["protocol", "loso"] in shown["settings"]
    assert shown["calibration"]["subjects"] == 6 and shown["problems"] == []
    assert [one["name"] for one in shown["pictures"]] == ["confusion", "subjects"]
    picture = browser.get(f"/api/runs/{identity}/pictures/subjects.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content == (made / "good" / "subjects.png").read_bytes()
    for name in ("curves.png", "config.json", "mine.png", "..%2fgood%2fsubjects.png"):
        wrong = browser.get(f"/api/runs/{identity}/pictures/{name}")
        assert wrong.status_code == 404 and list(wrong.json()) == ["error"]


def test_figures_are_those_of_runs():
    assert tuple(run_files.FIGURES) == layout.FIGURES


def test_weights_of_the_package(browser):
    shown = browser.get("/api/runs/shipped").json()
    assert "never tested on recordings of people" in shown["card"]
    assert shown["calibration"]["new_people"] and not shown["problems"]
    assert "Calibration" in browser.get("/runs/shipped").text


def test_comparison_is_that_of_eval(browser, made):
    runs, _ = listed(browser)
    good, poor = (runs[name]["id"] for name in ("good", "more/poor"))
    shown = browser.get(f"/api/runs/{good}/compared/{poor}").json()
    expected = comparison.compare(
        *(predictions.read(made / n / "predictions.csv") for n in ("good", "more/poor"))
    )
    assert shown["mcnemar"] == expected["mcnemar"] and shown["clips"] == 30
    for row, name in zip(shown["metrics"], comparison.NAMES, strict=True):
        assert row["difference"] == expected["metrics"][name]["difference"] > 0
        assert row["interval"] == expected["metrics"][name]["interval"]
        assert row["winner"] is None  # there is one seed


def test_runs_that_cannot_be_compared(browser):
    runs, _ = listed(browser)
    good, seeds = runs["good"]["id"], runs["seeds"]["id"]
    shown = browser.get(f"/api/runs/{good}/compared/{seeds}").json()
    assert list(shown) == ["reason"] and "different seeds" in shown["reason"]
    for other in ("shipped", "0" * 16, "..%2fseeds"):
        answer = browser.get(f"/api/runs/{good}/compared/{other}")
        assert answer.status_code == 404 and list(answer.json()) == ["error"]


def test_predictions_that_are_damaged_or_too_large_are_not_compared(copied):
    run, browser = copied
    identity = listed(browser)[0]["one"]["id"]
    text = (run / "predictions.csv").read_text()
    many = "".join(
        f"c{n},casme2,s{n},0,f,negative,negative,1.0,0.0,0.0\n" for n in range(5001)
    )
    for content, words in [
        ("clip\n", "Run A: predictions.csv cannot be read"),
        (text.splitlines()[0] + "\n" + many, "eval.py --compare"),
        ("x" * (9 << 20), "larger than 8 MiB"),
    ]:
        (run / "predictions.csv").write_text(content)
        answer = browser.get(f"/api/runs/{identity}/compared/{identity}")
        assert words in answer.json()["reason"] and str(run) not in answer.text


def test_a_recording_remembers_the_folder_of_its_run(copied, tmp_path):
    run, browser = copied
    video = tmp_path / "x.mp4"
    write(video, [grey(n) for n in range(5)])
    identity = listed(browser)[0]["one"]["id"]
    assert upload(browser, video.read_bytes(), run="../one").status_code == 400
    job = upload(browser, video.read_bytes(), run=identity).json()
    assert job["run"] == "one"
    saved = json.loads((tmp_path / "page" / job["id"] / "job.json").read_text())
    assert saved["run_path"] == str(run)
    text = browser.get(f"/runs/{identity}")
    assert text.text == (run / "report.md").read_text()
    assert text.headers["content-type"].startswith("text/plain")


def test_a_run_that_finishes_appears_when_a_page_is_loaded(copied):
    run, browser = copied
    one = listed(browser)[0]["one"]["id"]
    shutil.copytree(run, run.with_name("a"))  # before it in the list
    state = browser.get("/api/state").json()
    assert len(state["runs"]) == 2
    assert browser.get("/").status_code == 200
    titles = {r["title"]: r["id"] for r in browser.get("/api/state").json()["runs"]}
    assert titles["one"] == one and "a" in titles
    # It can be used for a recording: only the content of this one is refused.
    answer = upload(browser, b"no video", run=titles["a"])
    assert "not a video" in answer.json()["error"]
    shutil.rmtree(run)
    assert "one" not in listed(browser)[0]
    assert browser.get(f"/api/runs/{one}").status_code == 404


def change(path, **values):
    """Returns the JSON of a file with other values."""
    return json.dumps(json.loads(path.read_text()) | values)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("report.json", "{", "report.json is damaged: it is not JSON"),
        ("report.json", "[" * 100_000, "report.json is damaged"),
        ("report.json", "[]", "not a JSON object"),
        ("report.json", "{}", "no numbers of clips"),
        ("report.json", '{"metrics": {"accuracy": 1}}', "no numbers of clips"),
        ("report.json", '{"clips": 1e999, "subjects": true}', "no numbers of clips"),
        ("report.json", b"\xff\xfe", "report.json is damaged"),
        ("config.json", "{}", "config.json is damaged: it has no settings"),
        ("split.json", None, "no split.json"),
    ],
)
def test_damaged_runs_are_listed_with_the_reason(copied, name, content, words):
    run, browser = copied
    identity = listed(browser)[0]["one"]["id"]
    (run / name).unlink()
    if content is not None:
        content = content if isinstance(content, bytes) else content.encode()
        (run / name).write_bytes(content)
        # The page was loaded before.
        if name != "split.json":
            answer = browser.get(f"/api/runs/{identity}")
            assert answer.status_code == 400 and words in answer.json()["error"]
    runs, refused = listed(browser)
    assert "one" not in runs and words in refused["one"]
    assert upload(browser, b"", run=identity).status_code == 400


def test_damaged_parts_leave_the_others(copied):
    run, browser = copied
    identity = listed(browser)[0]["one"]["id"]
    report = run / "report.json"
    pooled = {"by_class": {"a": {}, "b": {}}, "confusion": [[1, 2], [3]]}
    metrics = json.loads(report.read_text())["metrics"] | {
        "uf1": {"mean": float("nan"), "sd": 10**400, "interval": [0, float("inf")]},
        "uar": 1,
    }
    changed = {"pooled": pooled, "metrics": metrics, "protocol": "\ud800"}
    report.write_text(change(report, seeds=None, folds=10**400, **changed))
    (run / "report.md").unlink()
    (run / "confusion.png").write_bytes(b"<svg/>")
    (run / "predictions.csv").write_text("changed")
    config = run / "config.json"
    config.write_text(change(config, config={"deep": float("nan")}, starts=[1]))
    assert "one" in listed(browser)[0]
    answer = browser.get(f"/api/runs/{identity}")
    assert answer.status_code == 200
    shown = answer.json()
    assert shown["settings"] == [["deep", "NaN"]]
    values = {one["title"]: list(one.values())[1:] for one in shown["metrics"]}
    assert values["UF1"] == values["UAR (balanced accuracy)"] == [None] * 3
    assert values["accuracy"][0] > 0
    assert shown["classes"] is shown["report"] is shown["calibration"] is None
    problems = " ".join(shown["problems"])
    for words in ("confusion matrix", "no report.md", "other predictions"):
        assert words in problems
    picture = browser.get(f"/api/runs/{identity}/pictures/confusion.png")
    assert picture.status_code == 404 and "not a PNG" in picture.json()["error"]


def test_limits_of_a_run(copied):
    run, browser = copied
    identity = listed(browser)[0]["one"]["id"]
    (line,) = browser.get(f"/api/runs/{identity}").json()["limits"]
    assert "does not say what a person feels" in line
    report = run / "report.json"
    report.write_text(change(report, protocol="holdout", datasets=["synthetic/wild"]))
    _, generated, people = browser.get(f"/api/runs/{identity}").json()["limits"]
    assert "generated faces only" in generated and "not subject-disjoint" in people


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_links_and_pipes_are_not_opened(copied, tmp_path):
    run, browser = copied
    identity = listed(browser)[0]["one"]["id"]
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    for name in ("report.md", "calibration.json", "confusion.png"):
        (run / name).unlink()
    (run / "report.md").symlink_to(secret)
    (run / "confusion.png").symlink_to(tmp_path / "other.png")
    os.mkfifo(run / "calibration.json")
    (run.parent / "linked").symlink_to(run)
    shown = browser.get(f"/api/runs/{identity}").json()
    assert shown["report"] is None and "secret" not in json.dumps(shown)
    assert {one["name"] for one in shown["pictures"]} == {"subjects"}
    assert any("report.md is a link" in problem for problem in shown["problems"])
    assert any("calibration.json is not" in problem for problem in shown["problems"])
    assert browser.get(f"/runs/{identity}").status_code == 404
    assert "a link" in listed(browser)[1]["linked"]
    (run / "report.json").unlink()
    (run / "report.json").symlink_to(secret)
    assert "report.json is a link" in listed(browser)[1]["one"]


def test_too_many_runs_are_reported(copied, monkeypatch):
    run, browser = copied
    monkeypatch.setattr("meranet_jax.web.runs._MOST", 2)
    for name in ("two", "zwei"):
        shutil.copytree(run, run.with_name(name))
    runs, refused = listed(browser)
    assert list(runs)[1:] == ["one", "two"]
    assert "more than 2" in refused["zwei"]


def test_a_run_of_its_own_is_one_below_itself(copied, tmp_path):
    run, _ = copied
    with client(application(tmp_path / "page", run_folder=run)) as browser:
        assert list(listed(browser)[0])[1:] == ["one"]


def test_the_page_has_no_script_style_or_address_of_its_own_in_it(browser):
    text = browser.get("/runs").text
    assert "<style" not in text and "style=" not in text and "<script>" not in text
    for name in ("runs", "runs.js"):
        found = browser.get(f"/{name}")
        assert found.status_code == 200 and "://" not in found.text
        assert "innerHTML" not in found.text


def test_others_see_nothing_of_runs(made, tmp_path):
    app = application(tmp_path, run_folder=made)
    with client(app, known=False) as browser:
        for path in ("/runs", "/runs.js", "/api/runs", "/api/runs/shipped"):
            assert browser.get(path).status_code == 403
