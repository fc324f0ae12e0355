import concurrent.futures
import errno

import filelock
import numpy as np
import pytest

from meranet_jax.data import feature_cache
from meranet_jax.data.flow_cache import FOLDER
from tests.meranet_jax.loading import wait_for_message


@pytest.fixture
def compute():
    """Counts its calls."""

    def call():
        call.count += 1
        return np.arange(6, dtype=np.float32).reshape(2, 3)

    call.count = 0
    return call


def test_an_array_is_computed_once(tmp_path, compute):
    for _ in range(2):
        found = feature_cache.load_or_compute(tmp_path, "features-1", compute)
        np.testing.assert_array_equal(found, np.arange(6).reshape(2, 3))
        assert found.dtype == np.float32
    assert compute.count == 1
    feature_cache.load_or_compute(tmp_path, "features-2", compute)
    assert compute.count == 2
    assert not list((tmp_path / FOLDER).glob("*.part"))


def test_damaged_files_are_computed_again(tmp_path, compute):
    feature_cache.load_or_compute(tmp_path, "features-1", compute)
    (file,) = (tmp_path / FOLDER).glob("*.data")
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[content.index(np.float32(3).tobytes())] ^= 1
    for number, damaged in enumerate((flipped, content[:-9], b"", b"text"), 2):
        file.write_bytes(damaged)
        found = feature_cache.load_or_compute(tmp_path, "features-1", compute)
        np.testing.assert_array_equal(found, np.arange(6).reshape(2, 3))
        assert compute.count == number and file.read_bytes() == content


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_nothing_is_kept_in_a_read_only_folder(
    tmp_path, compute, monkeypatch, capsys, error
):
    def refuse(*arguments):
        raise OSError(error, "cannot be written")

    monkeypatch.setattr(feature_cache, "_write", refuse)
    for number in (1, 2):
        found = feature_cache.load_or_compute(tmp_path, "features-1", compute)
        assert found.shape == (2, 3) and compute.count == number
    assert "Cannot keep features in" in capsys.readouterr().err


def test_a_full_disk_is_an_error(tmp_path, compute, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(feature_cache, "_write", refuse)
    with pytest.raises(OSError, match="No space left"):
        feature_cache.load_or_compute(tmp_path, "features-1", compute)


def test_keys_depend_on_arrays_settings_and_code(monkeypatch):
    clips = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)

    def key(clips=clips, settings=(5, 5), **options):
        options = {"code": ("descriptors",)} | options
        return feature_cache.compute_key(clips, settings, **options)

    first = key()
    assert key() == key(clips.copy()) == first
    changed = clips.copy()
    changed[1, 2, 3] = 0
    others = [
        key(changed),
        key(clips[::-1]),
        key(clips[:1]),
        key(clips.astype(np.float16)),
        key(clips.reshape(2, 4, 3)),
        key(settings=(5, 4)),
        key(code=("video",)),
        key(libraries=("jax",)),
    ]
    assert len({first, *others}) == 9
    monkeypatch.setattr(feature_cache, "_version", lambda name: "another")
    assert key() != first


def test_a_process_waits_and_reads_what_another_wrote(tmp_path, compute, capsys):
    path = tmp_path / FOLDER / "features-1.data"
    path.parent.mkdir()
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        filelock.FileLock(path.with_suffix(".lock"), thread_local=False),
    ):
        found = pool.submit(
            feature_cache.load_or_compute, tmp_path, "features-1", compute
        )
        wait_for_message("Waiting for another process that computes features", capsys)
        feature_cache._write(path, np.ones(3))
    np.testing.assert_array_equal(found.result(), np.ones(3))
    assert compute.count == 0
