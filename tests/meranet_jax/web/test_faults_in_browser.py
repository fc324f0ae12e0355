"""The page in a real browser when something fails: nothing of the user's is lost."""

import io
import json
import time
import zipfile

import pytest

from tests.meranet_jax.web.browsing import (
    BROWSER,
    delete_all,
    film,
    opened_page,
    opened_result,
    serving,
    shown_frame,
    until,
)

pytestmark = [
    pytest.mark.skipif(
        BROWSER is None, reason="there is no Chromium: apt-get install chromium"
    ),
    pytest.mark.e2e,
]

SAVED = "document.getElementById('saved').textContent.includes('are saved')"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "clip.webm"
    film(path)
    return path


@pytest.fixture
def address(tmp_path):
    folder = tmp_path / "page"
    folder.mkdir()
    with serving(folder) as printed:
        yield printed


def exported(page):
    """Exports what is open, and returns the files in the archive by name."""
    with page.expect_download() as download:
        page.click("#export")
    with open(download.value.path(), "rb") as file:
        content = io.BytesIO(file.read())
    folder = f"{download.value.suggested_filename.removesuffix('.zip')}/"
    with zipfile.ZipFile(content) as archive:
        return {
            name.removeprefix(folder): archive.read(name) for name in archive.namelist()
        }


def candidate(page, number):
    return page.locator(f"#candidates li[data-number='{number}']")


def test_a_press_near_an_edge_changes_nothing(chromium, address, video):
    with opened_page(chromium, address) as page:
        opened_result(page, video)
        candidate(page, 2).locator(".go").click()
        box = page.locator("#timeline").bounding_box()

        def place(seconds):
            return box["x"] + 52 + seconds / 4 * (box["width"] - 58)

        def edge():
            return candidate(page, 2).locator("[data-side=offset]").input_value()

        page.mouse.move(place(1.9) + 3, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(place(1.9) + 5, box["y"] + 60)
        page.mouse.up()
        assert edge() == "1.900"
        assert "1.900 s, frame 58" in page.locator("#position").inner_text()
        page.mouse.move(place(1.9) + 3, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(place(2.4) + 3, box["y"] + 60, steps=3)
        assert edge() == "2.400", "it stays as far from the pointer as it was"
        page.keyboard.press("Escape")
        assert edge() == "1.900"
        page.mouse.up()
        # An edge that is dragged stops at the other one; elsewhere that is refused.
        page.mouse.move(place(1.9), box["y"] + 60)
        page.mouse.down()
        page.mouse.move(place(0.2), box["y"] + 60, steps=3)
        page.mouse.up()
        assert edge() == "1.533", "the frame after the onset"
        until(page, SAVED)
        field = candidate(page, 2).locator("[data-side=offset]")
        for key in ("ArrowUp", "ArrowUp", "ArrowDown"):  # a frame each
            field.press(key)
        assert edge() == "1.567"
        until(page, SAVED)
        sent = []
        page.on("request", lambda r: sent.append(r) if r.method == "PUT" else None)
        for typed, words in (
            ("0.5", "onset must be before"),
            ("99", "from 0 to 4.000"),
            ("-3", "from 0 to 4.000"),
            ("", "number of seconds"),
            ("soon", "number of seconds"),
        ):
            field.fill(typed)
            field.press("Enter")
            assert edge() == "1.567"
            assert words in page.locator("#message").inner_text()
        # The message is closed by keyboard, and the user goes on where they were.
        field.focus()
        page.locator("#close-message").press("Enter")
        assert page.locator("#message").is_hidden()
        assert page.evaluate("document.activeElement.dataset.side") == "offset"
        field.fill("soon")
        field.press("Enter")
        page.keyboard.press("Escape")
        assert page.locator("#message").is_hidden()
        field.fill("2,5")  # as in many languages
        field.press("Enter")
        assert edge() == "2.500"
        assert "macro" in candidate(page, 2).locator(".go").inner_text()
        page.keyboard.press("Home")
        until(page, SAVED)
        addresses = [one.url.rsplit("/", 1)[1] for one in sent]
        assert addresses == ["corrections"], "only the number that is right was saved"


def test_an_edge_stays_under_the_pointer_at_the_border(chromium, address, video):
    with opened_page(chromium, address) as page:
        opened_result(page, video)
        candidate(page, 2).locator(".go").click()
        page.select_option("#zoom", "2")
        box = page.locator("#timeline").bounding_box()
        # The view begins a quarter of its length before the onset.
        first, width = 1.5 - 2 / 4, box["width"] - 58

        def place(seconds):
            return box["x"] + 52 + (seconds - first) / 2 * width

        page.mouse.move(place(1.9), box["y"] + 60)
        page.mouse.down()
        for beyond in (0, 5, 10, 15):
            page.mouse.move(box["x"] + box["width"] - 4 + beyond, box["y"] + 60)
        page.mouse.up()
        offset = candidate(page, 2).locator("[data-side=offset]").input_value()
        assert float(offset) == pytest.approx(3.0, abs=0.04)


def test_what_cannot_be_saved_is_kept_and_not_exported(
    chromium, address, video, tmp_path
):
    with opened_page(chromium, address, expected=(400, 507)) as page:
        opened_result(page, video)
        # A folder where the file should be, which not even root can replace
        (job,) = (tmp_path / "page").glob("*/job.json")
        obstacle = job.with_name("corrections.json")
        obstacle.mkdir()
        page.keyboard.press("n")
        page.keyboard.press("r")
        until(page, "!document.getElementById('save-again').hidden")
        assert "cannot be read or written" in page.locator("#saved").inner_text()
        page.click("#export")
        until(
            page, "document.getElementById('message').textContent.includes('Nothing')"
        )
        assert page.locator("#status").inner_text() == ""
        obstacle.rmdir()
        # Opening the recording that is open changes nothing.
        page.locator("#jobs .open").click()
        assert "rejected" in candidate(page, 1).get_attribute("class")
        # The page tries by itself, too, whenever it asks for the state.
        page.evaluate("document.getElementById('save-again').click()")
        until(page, SAVED)
        events = json.loads(exported(page)["corrected/events.json"])["events"]
        assert [one["number"] for one in events] == [2, 3]


def test_two_windows_lose_nothing(chromium, address, video):
    with (
        opened_page(chromium, address, expected=(400, 409)) as page,
        opened_page(chromium, address, expected=(400, 409)) as other,
    ):
        opened_result(page, video)
        other.locator("#jobs .open").click()
        other.wait_for_selector("#candidates li")
        candidate(page, 1).locator("[data-verdict=accepted]").click()
        until(page, SAVED)
        candidate(other, 2).locator("[data-verdict=rejected]").click()
        until(other, SAVED)
        for window in (page, other):  # each sees the change of the other
            until(
                window,
                "document.querySelector('[data-number=\"1\"].accepted')"
                " && document.querySelector('[data-number=\"2\"].rejected')",
            )
        # Undo does not touch what the other window has changed.
        candidate(page, 2).locator("[data-verdict=accepted]").click()
        until(other, "document.querySelector('[data-number=\"2\"].accepted')")
        other.keyboard.press("Control+z")
        assert "nothing to undo" in other.locator("#status").inner_text()
        page.keyboard.press("Control+z")
        until(other, "document.querySelector('[data-number=\"2\"].rejected')")
        until(page, SAVED)
        # Of two changes of the same candidate, the later one is discarded.
        candidate(page, 3).locator("[data-verdict=accepted]").click()
        candidate(other, 3).locator("[data-verdict=rejected]").click()
        says = "document.getElementById('message').textContent.includes('candidate 3')"
        end = time.monotonic() + 20
        while not (page.evaluate(says) or other.evaluate(says)):
            assert time.monotonic() < end
            time.sleep(0.05)
        for window in (page, other):
            until(window, SAVED)
        tables = [exported(one)["corrections.csv"] for one in (page, other)]
        assert tables[0] == tables[1]
        delete_all(page)
        until(other, "document.getElementById('result').hidden")
        assert "another window" in other.locator("#message").inner_text()


def test_a_webcam_recording_is_kept_until_it_is_sent(chromium, address):
    with opened_page(chromium, address, expected=(507,)) as page:
        page.route(
            "**/api/jobs?*",
            lambda route: route.fulfill(status=507, json={"error": "No space."}),
        )
        page.click("#camera")
        page.click("#record")
        # As if the camera was unplugged
        until(page, "document.getElementById('recorded').textContent.includes('1 s')")
        page.evaluate(
            "document.getElementById('preview').srcObject.getTracks()[0].stop()"
        )
        row = page.locator("#jobs li").first
        row.locator(".send").wait_for()
        assert "not sent: No space." in row.inner_text()
        with page.expect_download() as download:
            row.locator(".save").click()
        assert download.value.suggested_filename.startswith("webcam ")
        with open(download.value.path(), "rb") as file:
            kept = file.read()
        page.unroute("**/api/jobs?*")
        row.locator(".send").click()
        page.wait_for_selector("#candidates li")
        files = exported(page)
        (name,) = (name for name in files if name.endswith(".webm"))
        assert name.startswith("corrected/webcam ") and len(files[name]) > 1000
        assert kept[:4] == files[name][:4]


def test_a_restart_in_the_middle(chromium, tmp_path, video):
    slow = tmp_path / "slow.webm"
    slow.write_bytes(video.read_bytes())
    folder = tmp_path / "page"
    folder.mkdir()
    with serving(folder) as printed:
        port = int(printed.split(":")[2].split("/")[0])
        with opened_page(chromium, printed) as page:
            opened_result(page, video)
            assert page.locator("#deleted-at-end").is_visible()
            page.keyboard.press("n")
            page.keyboard.press("a")
            until(page, SAVED)
            page.set_input_files("#file", slow)
            page.wait_for_selector("#jobs .what:has-text('measuring')")
            # As if the server did not answer for a while
            page.route("**/video", lambda route: route.fulfill(status=400))
            page.evaluate("document.getElementById('video').load()")
            page.wait_for_timeout(300)
            assert page.locator("#no-video").is_hidden(), "the browser could play it"
            page.unroute("**/video")
            until(page, "document.getElementById('video').readyState >= 2")
            # The connection breaks off, and the server answers again at once.
            page.evaluate(
                """() => {
                  const video = document.getElementById('video');
                  const error = { code: MediaError.MEDIA_ERR_NETWORK };
                  Object.defineProperty(video, 'error', { value: error });
                  window.loads = 0;
                  video.addEventListener('loadstart', () => { window.loads += 1; });
                  video.dispatchEvent(new Event('error'));
                }"""
            )
            until(page, "window.loads > 0")
            assert page.locator("#no-video").is_hidden(), "the browser could play it"
    for saved in folder.glob("*/job.json"):  # so that the second analysis is short
        job = json.loads(saved.read_text())
        saved.write_text(json.dumps({**job, "name": job["name"].replace("slow", "b")}))
    with (
        serving(folder, port=port, keep=True) as printed,
        opened_page(chromium, printed) as page,
    ):
        until(
            page, "document.querySelectorAll('#jobs .open:not([hidden])').length == 2"
        )
        assert page.locator("#deleted-at-end").is_hidden()
        page.locator("#jobs li", has_text="clip.webm").locator(".open").click()
        page.wait_for_selector("#candidates li.accepted")
        delete_all(page)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("start, sound", [(0.0, False), (0.5, False), (0.5, True)])
def test_the_picture_is_that_of_the_frame(chromium, address, tmp_path, start, sound):
    """Also where the sound begins before the pictures."""
    path = tmp_path / "later.webm"
    film(path, start=start, sound=sound)
    with opened_page(chromium, address) as page:
        opened_result(page, path)
        for keys, frame in (
            (["n"], 13),
            (["ArrowRight"] * 2, 15),
            (["n", "ArrowLeft"], 45),
        ):
            for key in keys:
                page.keyboard.press(key)
            assert f"frame {frame}" in page.locator("#position").inner_text()
            until(page, "!document.getElementById('video').seeking")
            end = time.monotonic() + 10
            while shown_frame(page) != frame:
                assert time.monotonic() < end, (shown_frame(page), frame)
                time.sleep(0.05)


def test_the_label_follows_the_controls_of_the_video(chromium, address, video):
    with opened_page(chromium, address) as page:
        opened_result(page, video)
        until(page, "document.getElementById('video').currentTime < 0.1")
        for time_, frame in ((2.51, 76), (0.99, 30), (3.0, 91), (1.234, 38)):
            page.evaluate(f"document.getElementById('video').currentTime = {time_}")
            label = f"textContent.includes('frame {frame}')"
            until(page, f"document.getElementById('position').{label}")
            assert shown_frame(page) == frame
        page.locator("#video").focus()
        page.keyboard.press("ArrowRight")
        assert "frame 39" in page.locator("#position").inner_text()
        loop_slowly(page)


def loop_slowly(page):
    """Plays the first candidate, from 0.4 to 0.7 s, in a loop, and stops that."""
    pressed = "document.getElementById('loop').getAttribute('aria-pressed')"
    page.click("#loop")
    assert "Select a candidate" in page.locator("#status").inner_text()
    page.keyboard.press("n")
    page.evaluate(
        """() => {
          const video = document.getElementById('video');
          window.places = [];
          window.jumps = 0;
          video.addEventListener('seeked', () => { window.jumps += 1; });
          video.addEventListener('timeupdate',
            () => { window.places.push(video.currentTime); });
        }"""
    )
    page.keyboard.press("l")
    assert page.evaluate(pressed) == "true"
    assert page.evaluate("document.getElementById('video').playbackRate") == 0.25
    page.keyboard.press("a")  # does not end it
    until(page, "window.jumps >= 3")  # to the candidate, to the loop, and again
    assert page.evaluate("Math.min(...places.slice(1))") >= 0.1
    assert page.evaluate("Math.max(...places)") < 0.9, "a busy machine draws late"
    assert page.evaluate(pressed) == "true"
    page.keyboard.press("l")
    assert page.evaluate(pressed) == "false"
    assert page.evaluate("document.getElementById('video').paused")
    assert page.evaluate("document.getElementById('video').playbackRate") == 1
    page.keyboard.press("l")
    page.keyboard.press(" ")
    until(page, f"{pressed} === 'false'")
    page.keyboard.press("l")
    page.keyboard.press("n")
    assert page.evaluate(pressed) == "false", "another candidate is selected"
    until(page, SAVED)


def test_the_motion_of_each_region(chromium, address, video):
    with opened_page(chromium, address) as page:
        opened_result(page, video)
        low = page.locator("#timeline").bounding_box()["height"]
        page.select_option("#motion", "regions")
        until(page, "document.getElementById('timeline').classList.contains('tall')")
        assert page.locator("#timeline").bounding_box()["height"] > low
        page.select_option("#motion", "parts")
        until(page, "!document.getElementById('timeline').classList.contains('tall')")
