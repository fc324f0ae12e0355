"""Recordings of the page without a browser: upload, queue, corrections, deletion."""

import asyncio
import concurrent.futures
import contextlib
import errno
import gc
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from meranet_jax.web import worker_process
from meranet_jax.web.job import Job
from meranet_jax.web.job_files import JobFiles
from meranet_jax.web.limits import Limits
from tests.meranet_jax.web.serving import (
    application,
    client,
    correction,
    ended,
    save,
    upload,
)


def test_a_recording_is_kept_below_a_generated_name(analysed):
    _, job, folder = analysed
    assert job["name"] == "b_.mp4"
    names = {
        path.relative_to(folder / job["id"]).as_posix()
        for path in (folder / job["id"]).rglob("*")
        if path.is_file()
    }
    assert "video.mp4" in names and not any("b_" in name for name in names)
    assert {path.name for path in folder.iterdir()} == {job["id"]}


def test_result_video_and_pictures(analysed, video):
    browser, job, folder = analysed
    address = f"/api/jobs/{job['id']}"
    shown = browser.get(f"{address}/result").json()
    first = shown["events"][0]
    assert first["resembles"].startswith("resembles clips labelled disgust")
    assert first["strip"] and not shown["events"][1]["strip"]
    assert str(folder) not in json.dumps(shown)
    face = shown["faces"][0]
    lengths = {len(one) for one in face["motion"].values()}
    assert lengths == {len(shown["times"])}
    times = np.frombuffer(browser.get(f"{address}/times").content, "<f8")
    assert np.allclose(times, np.arange(121) / 30)
    motion = np.frombuffer(browser.get(f"{address}/motion/1").content, "<f4")
    brows = [one["part"] == "brow" for one in face["regions"]]
    largest = motion.reshape(len(times), -1)[:, brows].max(1)
    assert np.allclose(largest, face["motion"]["brow"], atol=1e-4)
    assert browser.get(f"{address}/motion/2").status_code == 404
    part = browser.get(f"{address}/video", headers={"range": "bytes=0-9"})
    assert part.status_code == 206 and part.content == video[:10]
    assert part.headers["content-type"] == "video/mp4"
    picture = browser.get(f"{address}/pictures/0001.png")
    assert picture.headers["content-type"] == "image/png"
    assert browser.get(f"{address}/pictures/0002.png").status_code == 404


def test_a_recording_is_analysed_again(browser, tmp_path, video):
    failed = upload(browser, video, "fault.mp4").json()["id"]
    assert ended(browser, failed)["state"] == "failed"
    answer = browser.post(f"/api/jobs/{failed}/repeat")
    assert answer.status_code == 201 and answer.json()["id"] == failed
    assert ended(browser, failed)["state"] == "failed"
    done = upload(browser, video, "a.mp4").json()
    ended(browser, done["id"])
    assert save(browser, done, correction(verdict="accepted")).status_code == 200
    again = browser.post(f"/api/jobs/{done['id']}/repeat").json()
    names = [job["id"] for job in browser.get("/api/state").json()["jobs"]]
    assert names == [failed, done["id"], again["id"]], "in the order of their uploads"
    assert again["name"] == "a.mp4 (2)" and again["id"] != done["id"]
    assert ended(browser, again["id"])["state"] == "done"
    address = "/api/jobs/{}/corrections"
    assert browser.get(address.format(again["id"])).json()["corrections"] == []
    assert browser.delete(f"/api/jobs/{done['id']}").status_code == 204
    sent = browser.get(f"/api/jobs/{again['id']}/video")
    assert sent.content == video, "it does not need the other one"
    third = browser.post(f"/api/jobs/{again['id']}/repeat").json()
    assert third["name"] == "a.mp4 (3)"
    named_alike = upload(browser, video, "a (3).mp4").json()["name"]
    assert named_alike == "a (3).mp4 (2)", "exports are named a (3).zip otherwise"
    assert browser.post(f"/api/jobs/{again['id']}/repeat?run=no").status_code == 400


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "empty"),
        (b"#EXTM3U\nfile:///etc/passwd", "not a video"),
        (b"<html>", "not a video"),
        (b"\x89PNG\r\n\x1a\n" + bytes(400), "not a video"),
    ],
)
def test_other_files_are_refused(browser, tmp_path, content, words):
    answer = upload(browser, content)
    assert answer.status_code == 400 and words in answer.json()["error"]
    assert list(tmp_path.iterdir()) == []


def test_too_large_recordings_are_refused(tmp_path, video):
    limits = Limits(upload=len(video) - 1)
    with client(application(tmp_path, limits=limits)) as browser:
        for content in (video, iter([video])):  # with its length, and without
            answer = upload(browser, content)
            assert answer.status_code == 413 and "Cut it" in answer.json()["error"]
    assert list(tmp_path.iterdir()) == []


def test_too_many_recordings_are_refused(tmp_path, video):
    with client(application(tmp_path, limits=Limits(recordings=1))) as browser:
        assert upload(browser, video, "slow.mp4").status_code == 201
        answer = upload(browser, video)
        assert answer.status_code == 400 and "Delete some" in answer.json()["error"]


@pytest.mark.parametrize(
    "name, words, unusable",
    [
        ("broken.mp4", "broken.mp4 cannot be read: it is damaged", True),
        ("fault.mp4", "The analysis failed", False),
        ("memory.mp4", "not enough memory", False),
        ("recogniser.mp4", "cannot be used", False),
        ("full.mp4", "No space left on device. Free some space", False),
    ],
)
def test_failures_are_one_sentence(tmp_path, video, name, words, unusable):
    app = application(tmp_path, limits=Limits(memory=4 << 30))
    with client(app) as browser:
        job = ended(browser, upload(browser, video, name).json()["id"])
        assert job["state"] == "failed" and words in job["error"]
        assert job["unusable"] == unusable, "whether another analysis would fail, too"
        assert "Traceback" not in job["error"] and str(tmp_path) not in job["error"]
        assert browser.get(f"/api/jobs/{job['id']}/result").status_code == 404


def test_an_analysis_that_stops_has_no_stage(browser, video, monkeypatch):
    failures = [OSError(errno.ENOSPC, "No space left on device"), KeyError("a bug")]

    async def fail(command, job, *_):
        job.begin("drawing")
        job.done, job.total = 1, 4
        raise failures.pop(0)

    monkeypatch.setattr("meranet_jax.web.jobs.worker_process.run", fail)
    for words in ("No space left", "the terminal of the server"):
        job = ended(browser, upload(browser, video).json()["id"])
        assert job["state"] == "failed" and words in job["error"]
        assert (job["stage"], job["done"], job["total"]) == ("", None, None)


def test_a_stage_of_a_worker_that_was_cancelled_is_not_shown(tmp_path):
    job = Job("a", JobFiles(tmp_path), "video.mp4", "a.mp4", "", None)
    said = {"stage": "drawing", "done": 1, "total": 4}
    command = (sys.executable, "-c", f"print({json.dumps(json.dumps(said))})")
    shown = []
    for job.state in ("running", "failed"):
        job.begin("")
        asyncio.run(worker_process.run(command, job, "predict", 30, 1 << 30))
        shown.append((job.stage, job.done, job.total))
    assert shown == [("drawing", 1, 4), ("", None, None)]


def test_a_limit_of_time_ends_the_analysis(tmp_path, video):
    with client(application(tmp_path, limits=Limits(seconds=0.2))) as browser:
        job = ended(browser, upload(browser, video, "slow.mp4").json()["id"])
        assert job["state"] == "failed" and "took longer than" in job["error"]


def test_cancel_and_delete(browser, tmp_path, video):
    slow, waiting = (
        upload(browser, video, name).json()["id"] for name in ("slow.mp4", "b.mp4")
    )
    running = ended(browser, slow, states=("running",))
    assert running["state"] == "running"
    assert browser.delete(f"/api/jobs/{waiting}").status_code == 204
    assert browser.post(f"/api/jobs/{slow}/cancel").json()["state"] == "cancelled"
    # The queue goes on with the next.
    other = upload(browser, video, "c.mp4").json()["id"]
    assert ended(browser, other)["state"] == "done"
    assert browser.delete(f"/api/jobs/{slow}").status_code == 204
    assert browser.get(f"/api/jobs/{slow}/video").status_code == 404
    assert {path.name for path in tmp_path.iterdir()} == {other}


def test_a_new_start_goes_on_with_the_queue(tmp_path, video):
    with client(application(tmp_path)) as browser:
        job = upload(browser, video, "slow.mp4").json()["id"]
        ended(browser, job, states=("running",))
        (tmp_path / ("b" * 32)).mkdir()  # an upload that was interrupted
    saved = json.loads((tmp_path / job / "job.json").read_text())
    assert saved["state"] == "running"
    changed = {**saved, "name": "quick.mp4"}
    for later in ("number", "unusable", "faces"):
        del changed[later]  # as an earlier version has saved it
    (tmp_path / job / "job.json").write_text(json.dumps(changed))
    with client(application(tmp_path)) as browser:
        assert ended(browser, job)["state"] == "done"
    assert {path.name for path in tmp_path.iterdir()} == {job}


def test_fuzzed_requests_get_a_sentence_and_change_nothing(analysed):
    """Requests to addresses that exist, with parts that do not belong there."""
    browser, job, folder = analysed
    rng = np.random.default_rng(0)

    def files():
        return {p: p.read_bytes() for p in folder.parent.rglob("*") if p.is_file()}

    def junk():
        text = "".join(f"%{value:02x}" for value in rng.integers(0, 256, 12).tolist())
        return str(
            rng.choice(
                [
                    *(text, "..%2f..", "%00", "-1", "1e9", "9" * 300, "9" * 5000),
                    *("job.json", "a" * 32),
                ]
            )
        )

    before = files()
    asked = f"/api/jobs/{job['id']}"
    answers = set()
    for _ in range(200):
        address = [
            f"{asked}/pictures/{junk()}",
            f"{asked}/motion/{junk()}",
            f"{asked}/{junk()}",
            f"/api/jobs/{junk()}/video",
            f"/runs/{junk()}",
            f"{asked}/corrections?{junk()}={junk()}",
            f"{asked}/export?revision={junk()}",
            f"/api/jobs?run={junk()}&name={junk()}",
        ][rng.integers(8)]
        method = ["GET", "POST", "PUT", "DELETE"][rng.integers(4)]
        if method == "GET" and "corrections" in address:
            continue  # which is right
        body = rng.bytes(rng.integers(50))
        answer = browser.request(method, address, content=body)
        answers.add(answer.status_code)
        assert answer.status_code in (400, 404, 405, 409), (method, address)
        assert list(answer.json()) == ["error"]
        assert "content-security-policy" in answer.headers
    assert {400, 404, 405} <= answers
    assert files() == before


def test_a_failure_of_the_server_has_the_headers_of_the_page(analysed):
    browser, job, folder = analysed
    file = folder / job["id"] / "corrections.json"
    saved = file.read_bytes() if file.is_file() else None
    file.write_text("{")
    answer = browser.get(f"/api/jobs/{job['id']}/corrections")
    if saved is None:
        file.unlink()
    else:
        file.write_bytes(saved)
    assert answer.status_code == 500 and list(answer.json()) == ["error"]
    assert "content-security-policy" in answer.headers


def test_what_cannot_be_deleted_stays_in_the_list(browser, video, monkeypatch):
    job = upload(browser, video).json()["id"]
    ended(browser, job)

    def busy(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("meranet_jax.web.jobs.shutil.rmtree", busy)
        answer = browser.delete(f"/api/jobs/{job}")
    assert answer.status_code == 400 and "Permission denied" in answer.json()["error"]
    (listed,) = browser.get("/api/state").json()["jobs"]
    assert listed["state"] == "failed" and "cannot be deleted" in listed["error"]
    assert browser.delete(f"/api/jobs/{job}").status_code == 204
    assert browser.get("/api/state").json()["jobs"] == []


@pytest.mark.skipif(
    not Path("/proc/self/cmdline").is_file(), reason="only Linux lists processes"
)
def test_a_worker_is_gone_after_it_was_cancelled(browser, tmp_path, video):
    job = upload(browser, video, "slow.mp4").json()["id"]
    ended(browser, job, states=("running",))
    command = str(tmp_path / job).encode()

    def workers():
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if command in (process / "cmdline").read_bytes():
                    found.append(process.name)
        return found

    assert workers()
    browser.post(f"/api/jobs/{job}/cancel")
    until = time.monotonic() + 20
    while workers():
        assert time.monotonic() < until, "the worker still runs"
        time.sleep(0.05)


def test_a_full_disk_is_named_before_the_upload(tmp_path, video):
    with client(application(tmp_path, limits=Limits(free=1 << 60))) as browser:
        answer = upload(browser, video)
        assert answer.status_code == 400 and "GB left" in answer.json()["error"]
    assert list(tmp_path.iterdir()) == []


def test_folders_of_others_are_not_taken_over(tmp_path, video):
    (tmp_path / "a").mkdir()
    with client(application(tmp_path / "a")) as browser:
        job = upload(browser, video).json()["id"]
        ended(browser, job)
    saved = json.loads((tmp_path / "a" / job / "job.json").read_text())
    saved["video"] = "../../secret.mp4"
    (tmp_path / "a" / job / "job.json").write_text(json.dumps(saved))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ("c" * 32)).symlink_to(tmp_path / "a" / job)
    for folder in ("a", "b"):
        with client(application(tmp_path / folder)) as browser:
            assert browser.get("/api/state").json()["jobs"] == []


@pytest.mark.slow  # 35 workers one after another
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists files")
def test_many_uploads_are_all_analysed_and_leave_nothing(tmp_path, video):
    """Thirty one after another, and five at the same time."""

    def files():
        return len(list(Path("/proc/self/fd").iterdir()))

    def memory():
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def one(browser, name):
        job = upload(browser, video, name).json()["id"]
        state = ended(browser, job, seconds=300)["state"]
        browser.delete(f"/api/jobs/{job}")
        return state

    with client(application(tmp_path)) as browser:
        states = [one(browser, f"{n}.mp4") for n in range(5)]  # what is loaded once
        before = files(), memory()
        states += [one(browser, f"{n}.mp4") for n in range(25)]
        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            states += pool.map(lambda n: one(browser, f"at once {n}.mp4"), range(5))
        assert states == ["done"] * 35
        # A connection may still be open.
        assert files() <= before[0] + 5
        assert memory() < before[1] + (30 << 20)
        assert list(tmp_path.iterdir()) == []
