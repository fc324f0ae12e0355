"""Recordings of the page without a browser: upload, queue, corrections, deletion."""

import io
import json
import zipfile

import numpy as np
import pytest

from meranet_jax.web.limits import Limits
from tests.meranet_jax.video.test_video_file import grey, write
from tests.meranet_jax.web.serving import application, client, ended, upload


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """A short video as bytes."""
    path = tmp_path_factory.mktemp("video") / "x.mp4"
    write(path, [grey(n) for n in range(5)])
    return path.read_bytes()


@pytest.fixture
def browser(tmp_path):
    with client(application(tmp_path)) as made:
        yield made


@pytest.fixture(scope="module")
def analysed(video, tmp_path_factory):
    """A browser, the identity of a recording with a result, and its folder."""
    folder = tmp_path_factory.mktemp("page")
    with client(application(folder)) as made:
        sent = upload(made, video, "../../My <b>clip</b>.mp4")
        assert sent.status_code == 201
        assert ended(made, sent.json()["id"])["state"] == "done"
        yield made, sent.json(), folder


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
    lengths = {len(one) for one in shown["faces"][0]["motion"].values()}
    assert lengths == {len(shown["times"])}
    part = browser.get(f"{address}/video", headers={"range": "bytes=0-9"})
    assert part.status_code == 206 and part.content == video[:10]
    assert part.headers["content-type"] == "video/mp4"
    picture = browser.get(f"{address}/pictures/0001.png")
    assert picture.headers["content-type"] == "image/png"
    assert browser.get(f"{address}/pictures/0002.png").status_code == 404


def corrections(*changes):
    return {"content": json.dumps(list(changes))}


def test_corrections_are_kept_beside_the_proposal(analysed):
    browser, job, _ = analysed
    address = f"/api/jobs/{job['id']}/corrections"
    assert browser.get(address).json() == []
    moved = {"number": 1, "verdict": "accepted", "onset": 0.3, "offset": 0.75}
    other = {"number": 2, "verdict": "rejected", "onset": None, "offset": None}
    assert browser.put(address, **corrections(other, moved)).status_code == 204
    assert browser.get(address).json() == [moved, other]


def correction(**changes):
    return {"number": 1, "verdict": "open", "onset": None, "offset": None, **changes}


@pytest.mark.parametrize(
    "body, words",
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", "not a list"),
        (b"[1]", "not an object"),
        (json.dumps([correction(number=9)]), "no candidate"),
        (json.dumps([correction(number=True)]), "no candidate"),
        (json.dumps([correction(), correction()]), "two of one"),
        (json.dumps([correction(verdict="maybe")]), "not known"),
        (json.dumps([correction(onset=1.0)]), "Give both"),
        (json.dumps([correction(onset="1", offset=2)]), "not numbers"),
        ('[{"number": 1, "verdict": "open", "onset": NaN, "offset": 1}]', "not numb"),
        (json.dumps([correction(onset=2.0, offset=1.0)]), "before its offset"),
        (json.dumps([correction(onset=1.0, offset=99.0)]), "4.000 s"),
    ],
)
def test_wrong_corrections_are_refused(analysed, body, words):
    browser, job, _ = analysed
    answer = browser.put(f"/api/jobs/{job['id']}/corrections", content=body)
    assert answer.status_code == 400 and words in answer.json()["error"]


@pytest.mark.e2e
def test_export_has_the_proposal_and_the_corrected_files(analysed):
    browser, job, _ = analysed
    address = f"/api/jobs/{job['id']}"
    changed = corrections(
        correction(number=2, verdict="rejected"),
        correction(verdict="accepted", onset=0.3, offset=0.9),
    )
    assert browser.put(f"{address}/corrections", **changed).status_code == 204
    assert browser.post(f"{address}/export").status_code == 204
    sent = browser.get(f"{address}/export.zip")
    assert 'filename="b_.zip"' in sent.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(sent.content)) as archive:
        names = set(archive.namelist())
        read = {
            name: archive.read(name).decode()
            for name in names
            if "." in name and not name.endswith((".png", ".gif"))
        }
    for name in (
        "events.csv",
        "events.json",
        "frames.csv",
        "megc.csv",
        "report.md",
        "b__events.tsv",
        "b_.boris",
        "b_.eaf",
        "timeline.png",
    ):
        assert f"corrected/{name}" in names
    assert "machine/events.json" in names and "machine/candidates/0001.png" in names
    events = json.loads(read["corrected/events.json"])["events"]
    assert [event["number"] for event in events] == [1, 3]
    assert events[0]["label"] == "accepted, moved" and events[0]["type"] == "macro"
    assert events[0]["onset"] == {"time": 0.3, "frame": 10}
    assert events[1]["label"] == "not reviewed"
    table = read["corrections.csv"].splitlines()
    assert table[1] == "1,1,0.4000,0.5000,0.7000,disgust,accepted,0.3000,0.9000"
    assert table[2].split(",")[6] == "rejected" and len(table) == 4
    # The programs look for the video next to their file.
    assert '"b_.mp4"' in read["corrected/b_.boris"]


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
    "name, words",
    [
        ("broken.mp4", "broken.mp4 cannot be read: it is damaged"),
        ("fault.mp4", "The analysis failed"),
        ("memory.mp4", "not enough memory"),
    ],
)
def test_failures_are_one_sentence(tmp_path, video, name, words):
    app = application(tmp_path, limits=Limits(memory=4 << 30))
    with client(app) as browser:
        job = ended(browser, upload(browser, video, name).json()["id"])
        assert job["state"] == "failed" and words in job["error"]
        assert "Traceback" not in job["error"] and str(tmp_path) not in job["error"]
        assert browser.get(f"/api/jobs/{job['id']}/result").status_code == 404


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
    (tmp_path / job / "job.json").write_text(json.dumps(changed))
    with client(application(tmp_path)) as browser:
        assert ended(browser, job)["state"] == "done"
    assert {path.name for path in tmp_path.iterdir()} == {job}


def test_fuzzed_requests_get_a_sentence(browser):
    rng = np.random.default_rng(0)
    for _ in range(30):
        path = "".join(f"%{value:02x}" for value in rng.integers(0, 256, 12).tolist())
        method = ["GET", "POST", "PUT", "DELETE"][rng.integers(4)]
        body = rng.bytes(50)
        answer = browser.request(method, f"/api/jobs/{path}", content=body)
        assert answer.status_code in (404, 405) and list(answer.json()) == ["error"]
