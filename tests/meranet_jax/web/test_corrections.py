"""Corrections of the page without a browser: saved, of two windows, and exported."""

import concurrent.futures
import io
import json
import time
import urllib.parse
import zipfile

import pytest

from tests.meranet_jax.web.serving import correction, ended, save, upload


def test_corrections_do_not_change_the_proposal(analysed):
    browser, job, _ = analysed
    address = f"/api/jobs/{job['id']}/corrections"
    before = browser.get(address).json()
    moved = correction(verdict="accepted", onset=0.3, offset=0.75)
    other = correction(number=2, verdict="rejected")
    answer = save(browser, job, other, moved)
    assert answer.json() == {"revision": before["revision"] + 1}
    assert browser.get(address).json()["corrections"] == [moved, other]


def test_another_window_overwrites_nothing(analysed):
    browser, job, _ = analysed
    address = f"/api/jobs/{job['id']}"
    assert save(browser, job, correction(verdict="accepted")).status_code == 200
    kept = browser.get(f"{address}/corrections").json()
    late = save(browser, job, correction(), revision=kept["revision"] - 1)
    assert late.status_code == 409 and "another window" in late.json()["error"]
    assert browser.get(f"{address}/corrections").json() == kept
    # Nor is anything exported that the window does not show.
    params = {"revision": kept["revision"] - 1}
    assert browser.post(f"{address}/export", params=params).status_code == 409
    (listed,) = browser.get("/api/state").json()["jobs"]
    assert listed["revision"] == kept["revision"]


@pytest.mark.parametrize(
    "body, words",
    [
        ({}, "not a list"),
        ([1], "not an object"),
        ([correction(number=9)], "no candidate"),
        ([correction(number=True)], "no candidate"),
        ([correction(), correction()], "two of one"),
        ([correction(verdict="maybe")], "not known"),
        ([correction(onset="1", offset=2)], "not numbers"),
        ([correction(onset=float("nan"))], "not numbers"),
        ([correction(onset=2.0, offset=1.0)], "before its offset"),
        ([correction(onset=0.7)], "before its offset"),  # where the machine's ends
        ([correction(offset=99.0)], "4.000 s"),
        ([correction(onset=-0.1)], "between 0"),
    ],
)
def test_wrong_corrections_are_refused(analysed, body, words):
    browser, job, _ = analysed
    address = f"/api/jobs/{job['id']}/corrections"
    before = browser.get(address).json()
    sent = json.dumps({"revision": before["revision"], "corrections": body})
    answer = browser.put(address, content=sent)
    assert answer.status_code == 400 and words in answer.json()["error"]
    assert browser.get(address).json() == before


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff", b"[]"])
def test_corrections_of_another_form_are_refused(analysed, body):
    browser, job, _ = analysed
    answer = browser.put(f"/api/jobs/{job['id']}/corrections", content=body)
    assert answer.status_code == 400 and list(answer.json()) == ["error"]


def archive_of(browser, job, stem="b_"):
    """Exports a recording, and returns the files in the archive by name."""
    address = f"/api/jobs/{job['id']}"
    revision = browser.get(f"{address}/corrections").json()["revision"]
    answer = browser.post(f"{address}/export", params={"revision": revision})
    assert answer.status_code == 204, answer.text
    sent = browser.get(f"{address}/export.zip", params={"revision": revision})
    named = urllib.parse.unquote(sent.headers["content-disposition"])
    assert f"{stem}.zip" in named
    with zipfile.ZipFile(io.BytesIO(sent.content)) as archive:
        names = archive.namelist()
        assert all(name.startswith(f"{stem}/") for name in names)
        return {name.removeprefix(f"{stem}/"): archive.read(name) for name in names}


@pytest.mark.e2e
def test_export_has_the_proposal_and_the_corrected_files(analysed):
    browser, job, folder = analysed
    changed = (
        correction(number=2, verdict="rejected"),
        correction(verdict="accepted", onset=0.3, offset=0.9),
    )
    assert save(browser, job, *changed).status_code == 200
    read = archive_of(browser, job)
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
        assert f"corrected/{name}" in read
    for name in ("events.json", "b_.boris", "candidates/0001.png"):
        assert f"machine/{name}" in read
    events = json.loads(read["corrected/events.json"])["events"]
    assert [event["number"] for event in events] == [1, 3]
    assert events[0]["label"] == "accepted, moved" and events[0]["type"] == "macro"
    assert events[0]["onset"] == {"time": 0.3, "frame": 10}
    assert events[1]["label"] == "not reviewed"
    table = read["corrections.csv"].decode().splitlines()
    assert table[0].endswith(",onset,offset,onset_frame,offset_frame,moved")
    assert table[1] == (
        "1,1,0.4000,0.5000,0.7000,disgust,accepted,0.3000,0.9000,10,28,yes"
    )
    assert table[2].split(",")[6] == "rejected" and table[2].endswith(",46,58,no")
    assert len(table) == 4
    # The programs look for the video next to their file.
    assert b'"b_.mp4"' in read["corrected/b_.boris"]
    assert "corrected/b_.mp4" not in read, "the user has it"
    names = [path.name for path in (folder / job["id"]).rglob("*")]
    assert not any("b_" in name for name in names), "files have generated names"


@pytest.mark.e2e
def test_a_recording_of_the_webcam_is_exported(browser, video):
    first, job = (
        upload(browser, video, name, recorded="").json()
        for name in ("B_.webm", "b_.mp4")
    )
    assert browser.delete(f"/api/jobs/{first['id']}").status_code == 204
    assert ended(browser, job["id"])["state"] == "done"
    assert job["name"] == "b_.mp4 (2)"
    read = archive_of(browser, job, "b_ (2)")
    assert read["corrected/b_.mp4"] == video
    # The video keeps the name under which the programs look for it.
    assert b'"b_.mp4"' in read["corrected/b_ (2).boris"]


@pytest.mark.e2e
def test_what_is_saved_during_an_export_is_not_in_it(analysed):
    browser, job, folder = analysed
    assert save(browser, job, correction(verdict="accepted")).status_code == 200
    revision = browser.get(f"/api/jobs/{job['id']}/corrections").json()["revision"]
    params = {"revision": revision}
    (folder / job["id"] / "exported.json").unlink(missing_ok=True)  # of another test
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        address = f"/api/jobs/{job['id']}/export"
        exported = pool.submit(browser.post, address, params=params)
        # As soon as the worker may read them
        until = time.monotonic() + 20
        while not (folder / job["id"] / "exported.json").is_file():
            assert time.monotonic() < until
        assert save(browser, job, correction(verdict="rejected")).status_code == 200
        assert exported.result().status_code == 204
    sent = browser.get(f"{address}.zip", params=params)
    with zipfile.ZipFile(io.BytesIO(sent.content)) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/corrections.csv"))
        assert ",accepted," in archive.read(name).decode()
    later = browser.get(f"{address}.zip", params={"revision": revision + 1})
    assert later.status_code == 409
