"""Chromium, and the server in a thread, for tests of the page."""

import contextlib
import shutil
import socket
import threading
import time

import pytest
import uvicorn

from tests.meranet_jax.web.serving import TOKEN, application

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)


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
def serving(folder, **options):
    """Runs a server in a thread, and yields the address that it would print."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
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
        assert time.monotonic() < end, expression
        time.sleep(0.03)


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
