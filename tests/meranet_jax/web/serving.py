"""The application of the page with a worker that is quick, for tests."""

import sys
import time

from starlette.testclient import TestClient

from meranet_jax.web.application import make_application

TOKEN = "a-secret"
PORT = 8000
ADDRESS = f"http://127.0.0.1:{PORT}"
STUB = (sys.executable, "-m", "tests.meranet_jax.web.stub_worker")


def application(folder, **options):
    """Returns the application, whose worker finds three candidates."""
    options = {"port": PORT, "worker": STUB, "token": TOKEN} | options
    return make_application(folder, hosts={"127.0.0.1", "localhost"}, **options)


def client(app, *, known=True, origin=ADDRESS):
    """Returns a browser, to be used as a context, in which the server works.

    Args:
      app: the application.
      known: whether it has opened the address with the token.
      origin: of the page that sends requests; None for none.
    """
    headers = {} if origin is None else {"origin": origin}
    made = TestClient(
        app, base_url=ADDRESS, headers=headers, raise_server_exceptions=False
    )
    if known:
        assert made.get("/", params={"token": TOKEN}).status_code == 200
    return made


def upload(browser, video, name="clip.mp4", **query):
    """Sends a recording, and returns the response."""
    return browser.post("/api/jobs", params={"name": name, **query}, content=video)


def ended(browser, identity, seconds=60, states=("done", "failed", "cancelled")):
    """Waits until a recording has one of some states, and returns it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        jobs = browser.get("/api/state").json()["jobs"]
        (job,) = (one for one in jobs if one["id"] == identity)
        if job["state"] in states:
            return job
        time.sleep(0.05)
    raise AssertionError(f"{job} is not {states} after {seconds} s")


def correction(**changes):
    """A correction of the first candidate that changes what is given."""
    return {"number": 1, "verdict": "open", "onset": None, "offset": None, **changes}


def save(browser, job, *changes, revision=None):
    """Sends corrections of the latest revision, or another, and returns the answer."""
    address = f"/api/jobs/{job['id']}/corrections"
    if revision is None:
        revision = browser.get(address).json()["revision"]
    return browser.put(
        address, json={"revision": revision, "corrections": list(changes)}
    )
