"""The page in a real browser: upload to export, corrections, webcam, accessibility."""

import json
import shutil
import zipfile

import pytest

from tests.meranet_jax.video.test_video_file import grey, write
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
        events = json.loads(archive.read("My clip/corrected/events.json"))["events"]
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
    undo_one_step_at_a_time(page, second)
    delete_all(page)


def undo_one_step_at_a_time(page, second):
    """Undoes the reset and the drag of the test above, and a decision after them."""
    field = second.locator("[data-side=offset]")
    second.locator("[data-verdict=rejected]").click()
    field.press("Control+z")
    assert "rejected" in second.get_attribute("class"), "a field has its own undo"
    page.locator("#timeline").focus()
    page.keyboard.press("Control+z")
    assert "open" in second.get_attribute("class") and field.input_value() == "1.900"
    # The switch is for keys without Ctrl.
    page.evaluate("document.getElementById('keys').checked = false")
    page.keyboard.press("Meta+z")
    assert float(field.input_value()) == pytest.approx(2.2, abs=0.02), "the reset"
    page.click("#undo")
    assert field.input_value() == "1.900", "the drag"
    until(page, "document.getElementById('saved').textContent.includes('are saved')")
    page.locator("#undo").press("Enter")
    assert "nothing to undo" in page.locator("#status").inner_text()
    page.reload()
    page.locator("#jobs .open").click()
    assert field.input_value() == "1.900", "it was saved"
    assert page.locator("#candidates li.open").count() == 3


@pytest.mark.e2e
def test_webcam(page):
    focused = "document.activeElement.id"
    page.locator("#camera").press("Enter")
    seen = "document.getElementById('preview').videoWidth > 0"
    until(page, f"{seen} && {focused} === 'record'")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "close-camera"
    page.evaluate("window.stream = document.getElementById('preview').srcObject")
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "camera"
    assert page.evaluate("stream.getTracks()[0].readyState") == "ended", "its light"
    assert page.locator("#preview").is_hidden()
    page.keyboard.press("Enter")
    until(page, f"{seen} && {focused} === 'record'")
    page.evaluate(  # as if it was unplugged
        "document.getElementById('preview').srcObject.getTracks()[0]"
        ".dispatchEvent(new Event('ended'))"
    )
    assert "unplugged" in page.locator("#message").inner_text()
    page.keyboard.press("Enter")
    until(page, f"{seen} && {focused} === 'record'")
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "stop"
    until(page, "document.getElementById('recorded').textContent.includes('2 s')")
    page.click("#stop")
    page.wait_for_selector("#candidates li")
    assert "webcam" in page.locator("#result-title").inner_text()
    # The server has given the recording the duration that a browser leaves out.
    until(page, "document.getElementById('video').readyState >= 1")
    seconds = page.evaluate("document.getElementById('video').duration")
    assert 0.1 < seconds < 60  # a busy machine draws few pictures
    delete_all(page)


def with_a_stage(route):
    """Answers as if the stages of recordings stayed when they were cancelled."""
    answer = route.fetch()
    state = answer.json()
    for job in state["jobs"]:
        job.update(stage="drawing", done=1, total=4)
    route.fulfill(response=answer, json=state)


@pytest.mark.e2e
def test_cancel_errors_and_accessibility(page, video, tmp_path):
    wrong = tmp_path / "list.mp4"
    wrong.write_text("#EXTM3U")
    other = tmp_path / "other.mp4"
    other.write_text("")
    page.set_input_files("#file", [wrong, other])
    until(page, "document.querySelectorAll('#message p').length === 2")
    shown = page.locator("#message p").all_inner_texts()
    assert "list.mp4: This is not a video" in shown[0] and "other.mp4" in shown[1]
    assert violations(page) == []
    page.click("#close-message")
    assert page.locator("#message").is_hidden()
    slow = tmp_path / "slow.webm"
    shutil.copy(video, slow)
    page.set_input_files("#file", slow)
    until(page, "document.querySelector('#jobs .what')?.textContent.includes('left')")
    assert violations(page) == []
    page.locator("#jobs .cancel").click()
    page.wait_for_selector("#jobs .what:has-text('cancelled')")
    assert page.locator("#status").inner_text() == "slow.webm was cancelled."
    assert page.locator("#jobs .repeat").is_visible()
    many = tmp_path / "many.webm"
    shutil.copy(video, many)
    page.set_input_files("#file", many)
    page.wait_for_selector("#jobs .what:has-text('recognising 40 candidates, about a')")
    page.wait_for_selector("#jobs .what:has-text('drawing candidate 2 of 4')")
    page.route("**/api/state", with_a_stage)
    page.locator("#jobs li", has_text="many").locator(".cancel").click()
    page.wait_for_selector("#jobs li:has-text('many') .what:has-text('cancelled')")
    page.unroute("**/api/state")
    broken = tmp_path / "broken.webm"
    shutil.copy(video, broken)
    page.set_input_files("#file", broken)
    row = page.locator("#jobs li", has_text="is damaged")
    row.locator(".delete").wait_for()
    assert row.locator(".repeat").is_hidden(), "it would fail again"
    opened_result(page, video)
    page.locator("#candidates summary").first.click()
    page.locator("#candidates summary").nth(1).click()
    details = page.locator("#candidates details").all_inner_texts()
    assert "12 of 16 frames of the clip are distinct" in details[0]
    assert "distinct" not in details[1], "all of them are"
    assert all("trained on CASME II" in text for text in details)
    page.keyboard.press("n")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == [], scheme
    page.set_viewport_size({"width": 820, "height": 900})
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 820
    # Video and timeline stay above the candidates, which scroll.
    for key in "nnpp":
        page.keyboard.press(key)
        watched = page.locator("#watch").bounding_box()
        selected = page.locator("#candidates .selected .go").bounding_box()
        assert watched["y"] >= 0
        assert watched["y"] + watched["height"] <= selected["y"] < 900
    empty = tmp_path / "empty.mp4"
    write(empty, [grey(0)])  # MPEG-4 Part 2, which Chromium does not play
    page.set_input_files("#file", empty)
    row = page.locator("#jobs li", has_text="ready, but no face was found")
    row.locator(".open").click()
    page.wait_for_selector("#caution strong:has-text('nothing to review')")
    page.wait_for_selector("#no-video:has-text('cannot play')")
    said = page.locator("#result").inner_text()
    assert said.count("No face was found.") == 1 and "Faces must be upright" in said
    assert "class" not in said and "trained on" not in said
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
        page.evaluate(
            """() => {
              window.seen = '';
              new MutationObserver(() => {
                window.seen += document.getElementById('jobs').textContent;
              }).observe(document.getElementById('jobs'),
                { childList: true, subtree: true });
            }"""
        )
        page.set_input_files("#file", path)
        page.wait_for_selector("#candidates li")
        for stage in ("recognising 1 candidate, about", "drawing candidate 1 of 1"):
            assert stage in page.evaluate("seen")
        (item,) = page.locator("#candidates li").all()
        assert "resembles clips labelled" in item.inner_text()
        onset = float(item.locator("[data-side=onset]").input_value())
        assert onset < event.apex < onset + 0.5
        item.locator("summary").click()
        picture = page.locator(".pictures img").first
        until(page, "document.querySelector('.pictures img')?.naturalWidth > 0")
        assert "where the network looks" in picture.get_attribute("alt")
        page.close()
