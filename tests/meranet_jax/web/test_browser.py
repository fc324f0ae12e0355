"""The page in a real browser: upload to export, corrections, webcam, accessibility."""

import json
import shutil
import zipfile

import pytest

from tests.meranet_jax.web.browsing import (
    BROWSER,
    delete_all,
    film,
    opened_page,
    opened_result,
    serving,
    until,
    violations,
)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="there is no Chromium: apt-get install chromium"
)


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "My clip.webm"
    film(path)
    return path


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server with a quick worker, and the address that it would print."""
    with serving(tmp_path_factory.mktemp("page")) as printed:
        yield printed


@pytest.fixture
def page(chromium, address):
    """The page, opened; errors of it and requests to elsewhere fail the test."""
    with opened_page(chromium, address) as opened:
        yield opened


@pytest.mark.e2e
def test_from_upload_to_export_by_keyboard(page, video, tmp_path):
    opened_result(page, video)
    assert page.url.endswith("/"), "the token stays in the address"
    assert page.locator("#candidates li").count() == 3
    first = page.locator("#candidates li").first
    assert "resembles clips labelled disgust" in first.inner_text()
    page.keyboard.press("n")  # the first candidate
    assert "0.400 s, frame 13" in page.locator("#position").inner_text()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("i")
    page.keyboard.press("a")
    assert "0.300 to 0.700 s" in first.inner_text()
    assert "accepted" in first.inner_text()
    page.keyboard.press("n")
    page.keyboard.press("r")
    until(page, "document.getElementById('status').textContent.includes('rejected')")
    # What was saved is there after the page is loaded again.
    page.reload()
    page.locator("#jobs .open").click()
    assert "moved; the machine's is 0.400" in first.inner_text()
    with page.expect_download() as download:
        page.click("#export")
    path = tmp_path / "export.zip"
    download.value.save_as(path)
    assert download.value.suggested_filename == "My clip.zip"
    with zipfile.ZipFile(path) as archive:
        events = json.loads(archive.read("corrected/events.json"))["events"]
    assert [(one["number"], one["label"]) for one in events] == [
        (1, "accepted, moved"),
        (3, "not reviewed"),
    ]
    assert events[0]["onset"] == {"time": 0.3, "frame": 10}
    delete_all(page)


@pytest.mark.e2e
def test_the_timeline_follows_the_video_and_edges_are_dragged(page, video):
    opened_result(page, video)
    page.evaluate("document.getElementById('video').muted = true")
    page.evaluate("document.getElementById('video').play()")
    until(
        page,
        "Number(document.getElementById('timeline').getAttribute('aria-valuenow')) > 1",
    )
    page.evaluate("document.getElementById('video').pause()")
    timeline = page.locator("#timeline")
    timeline.scroll_into_view_if_needed()
    box = timeline.bounding_box()

    def place(seconds):
        return box["x"] + 52 + seconds / 4 * (box["width"] - 58)

    page.mouse.click(place(1.7), box["y"] + 24)  # selects the second candidate
    second = page.locator("#candidates li").nth(1)
    assert "selected" in second.get_attribute("class")
    box = timeline.bounding_box()
    page.mouse.move(place(1.9), box["y"] + 24)
    page.mouse.down()
    page.mouse.move(place(2.2), box["y"] + 24, steps=3)
    page.mouse.up()
    offset = float(second.locator("[data-side=offset]").input_value())
    assert offset == pytest.approx(2.2, abs=0.02)
    until(page, "document.getElementById('status').textContent.includes('saved')")
    second.locator(".reset").click()
    assert second.locator("[data-side=offset]").input_value() == "1.900"
    delete_all(page)


@pytest.mark.e2e
def test_webcam(page):
    page.click("#record")
    until(page, "document.getElementById('recorded').textContent.includes('2 s')")
    page.click("#stop")
    page.wait_for_selector("#candidates li")
    assert "webcam" in page.locator("#result-title").inner_text()
    # The server has given the recording the duration that a browser leaves out.
    until(page, "document.getElementById('video').readyState >= 1")
    seconds = page.evaluate("document.getElementById('video').duration")
    assert 0.1 < seconds < 60  # a busy machine draws few pictures
    delete_all(page)


@pytest.mark.e2e
def test_cancel_errors_and_accessibility(page, video, tmp_path):
    wrong = tmp_path / "list.mp4"
    wrong.write_text("#EXTM3U")
    page.set_input_files("#file", wrong)
    until(
        page, "document.getElementById('message').textContent.includes('not a video')"
    )
    slow = tmp_path / "slow.webm"
    shutil.copy(video, slow)
    page.set_input_files("#file", slow)
    until(page, "document.querySelector('#jobs .what')?.textContent.includes('left')")
    assert violations(page) == []
    page.locator("#jobs .cancel").click()
    page.wait_for_selector("#jobs .what:has-text('cancelled')")
    opened_result(page, video)
    page.locator("#candidates summary").first.click()
    page.keyboard.press("n")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == [], scheme
    page.set_viewport_size({"width": 800, "height": 1100})
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 800
    delete_all(page)


@pytest.mark.e2e
@pytest.mark.slow  # tests of predict.py cover the analysis, and the others the page
def test_real_analysis_from_upload_to_pictures(chromium, tmp_path, monkeypatch):
    """Four seconds of a face, with the weights of the package."""
    # The complete network is computed, which takes longer than its optimisation.
    monkeypatch.setenv("XLA_FLAGS", "")
    from datasets.synthetic import long_video
    from meranet_jax.web.worker_process import WORKER

    path = tmp_path / "face.mp4"
    config = long_video.LongVideoConfig(
        seconds=4, faces="photograph", expressions=15, amplitude=(2.0, 2.5), noise=0
    )
    (event,) = long_video.render(path, config)
    (tmp_path / "page").mkdir()
    with serving(tmp_path / "page", worker=WORKER) as address:
        page = chromium.new_page()
        page.set_default_timeout(200_000)
        page.goto(address)
        page.set_input_files("#file", path)
        page.wait_for_selector("#candidates li")
        (item,) = page.locator("#candidates li").all()
        assert "resembles clips labelled" in item.inner_text()
        onset = float(item.locator("[data-side=onset]").input_value())
        assert onset < event.apex < onset + 0.5
        item.locator("summary").click()
        picture = page.locator(".pictures img").first
        until(page, "document.querySelector('.pictures img')?.naturalWidth > 0")
        assert "where the network looks" in picture.get_attribute("alt")
        page.close()
