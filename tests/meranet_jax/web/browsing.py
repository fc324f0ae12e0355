"""Chromium, and the server in a thread, for tests of the page."""

import contextlib
import shutil
import socket
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
import uvicorn

from tests.meranet_jax.web.serving import TOKEN, application

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)


# Width in pixels of the pictures of ``film``, and of the bar in them
_WIDTH, _BAR = 160, 10


def film(path, seconds=4.0, rate=30, start=0.0, sound=False):
    """Writes a video that Chromium plays: a bar moves one pixel to the right a frame.

    Args:
      path: of a WebM file.
      seconds: from its first to its last frame.
      rate: in Hz.
      start: time of the first frame in the file, in seconds.
      sound: whether it has a silent sound track, from the time 0.
    """
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=rate)
        stream.width, stream.height = _WIDTH, 120
        stream.options = {"deadline": "realtime", "cpu-used": "8"}
        track = container.add_stream("libopus", rate=48_000) if sound else None
        if track is not None:
            for n in range(round((start + seconds) * 50)):
                quiet = av.AudioFrame.from_ndarray(
                    np.zeros((1, 2 * 960), np.int16), format="s16", layout="stereo"
                )
                quiet.sample_rate, quiet.pts = 48_000, 960 * n
                container.mux(track.encode(quiet))
        for n in range(round(seconds * rate) + 1):
            picture = np.full((120, _WIDTH, 3), 90, np.uint8)
            picture[40:80, n : n + _BAR] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = n + round(start * rate), Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track is not None:
            container.mux(track.encode())


def shown_frame(page):
    """Returns the number of the frame of ``film`` that the page shows."""
    bright = page.evaluate(
        f"""() => {{
          const canvas = document.createElement('canvas');
          canvas.width = {_WIDTH};
          canvas.height = 120;
          const context = canvas.getContext('2d');
          context.drawImage(document.getElementById('video'), 0, 0);
          const row = context.getImageData(0, 60, {_WIDTH}, 1).data;
          return Array.from({{ length: {_WIDTH} }}, (_, x) => row[4 * x] > 155);
        }}"""
    )
    # The bar is as wide as at the beginning; compression may blur its edges.
    return round(float(np.mean(np.flatnonzero(bright))) - (_BAR - 1) / 2) + 1


@contextlib.contextmanager
def launched():
    """Starts Chromium, whose webcam is a generated picture."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        flags = [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            "--no-sandbox",
        ]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield browser
        browser.close()


@contextlib.contextmanager
def serving(folder, port=0, **options):
    """Runs a server in a thread, and yields the address that it would print."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    port = sock.getsockname()[1]
    app = application(folder, port=port, **options)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=1, loop="asyncio"
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/?token={TOKEN}"
    finally:
        server.should_exit = True
        thread.join()
        sock.close()


@contextlib.contextmanager
def opened_page(chromium, address, expected=(400,)):
    """Opens the page; errors of it and requests to elsewhere fail the test.

    Args:
      chromium: the browser.
      address: that the server would print.
      expected: answers that the page may get, which the browser reports as errors.
    """
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.grant_permissions(["camera"])
    opened = context.new_page()
    problems = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "console",
        lambda m: (
            problems.append(m.text)
            if m.type == "error"
            and not any(f"status of {n}" in m.text for n in expected)
            else None
        ),
    )
    host = address.split("?")[0]
    opened.on(
        "request",
        lambda r: None if r.url.startswith((host, "blob:")) else problems.append(r.url),
    )
    opened.set_default_timeout(20_000)
    opened.goto(address)
    yield opened
    context.close()
    assert not problems


def until(page, expression, seconds=20):
    """Waits until a script returns true, which the page's policy hides from itself."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            shown = page.locator("body").inner_text()
            raise AssertionError(f"not {expression} after {seconds} s:\n{shown}")
        time.sleep(0.03)


def opened_result(page, video):
    """Uploads a video, and waits for its result, which opens by itself."""
    page.set_input_files("#file", video)
    page.wait_for_selector("#candidates li")
    until(page, "document.getElementById('video').readyState >= 2")


def delete_all(page):
    """Deletes all recordings."""
    page.on("dialog", lambda dialog: dialog.accept())
    while page.locator("#jobs li").count():
        before = page.locator("#jobs li").count()
        page.locator("#jobs .delete").first.click()
        until(page, f"document.querySelectorAll('#jobs li').length < {before}")


def violations(page):
    """What axe finds that hinders people, by rule and place."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    # The policy of the page forbids axe as an element; a debugger's script may run.
    found = axe.Axe().run(page).response["violations"]
    return [
        (one["id"], [node["target"] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
