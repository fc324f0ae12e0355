"""Errors of the machine are not taken for a damaged video."""

import errno

import av
import pytest

from meranet_jax.errors import DataError
from meranet_jax.video.containers import open_video
from tests.meranet_jax.video.test_video_file import grey, write


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "x.mp4"
    write(path, [grey(0)])
    return path


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        av.error.OSError(errno.ENOSPC, "No space left on device"),
        av.error.OSError(errno.EFBIG, "File too large"),
        MemoryError(),
        av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_errors_of_the_machine_stay_as_they_are(video, error):
    with pytest.raises(type(error)) as caught, open_video(video):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        av.error.OSError(errno.EIO, "Input/output error"),
        av.error.InvalidDataError(errno.EINVAL, "Invalid data"),
        TypeError("no time"),
    ],
)
def test_errors_of_a_decoder_are_of_the_video(video, error):
    with pytest.raises(DataError, match="x.mp4 cannot be read: it is damaged"):
        with open_video(video):
            raise error
