"""A short video as a browser sends it, servers with a quick worker, and Chromium."""

import pytest

from tests.meranet_jax.video.test_video_file import grey, write
from tests.meranet_jax.web.browsing import launched
from tests.meranet_jax.web.serving import application, client, ended, upload


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """A short video as bytes."""
    path = tmp_path_factory.mktemp("video") / "x.mp4"
    write(path, [grey(n) for n in range(5)])
    return path.read_bytes()


@pytest.fixture
def browser(tmp_path):
    """A browser of a server without recordings."""
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


@pytest.fixture(scope="module")
def chromium():
    """Chromium, whose webcam is a generated picture."""
    with launched() as browser:
        yield browser
