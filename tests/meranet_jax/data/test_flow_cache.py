import concurrent.futures
import errno
import os
import subprocess
import sys
import time

import filelock
import numpy as np
import pytest

from meranet_jax.data import flow_cache
from meranet_jax.data.flow_cache import FlowCache, Turn
from tests.meranet_jax.loading import wait_for_message

SETTINGS = {"method": "dis", "version": 1}
SHAPE = (3, 4, 4, 2)


def open_cache(folder, settings=SETTINGS, number=5, shape=SHAPE):
    return FlowCache(folder, settings, number=number, shape=shape)


def some_flow(seed=0):
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float16)


def digest(number):
    return bytes([number]) * 16


def test_another_process_reads_what_one_wrote(tmp_path):
    cache = open_cache(tmp_path)
    cache.write(3, digest(1), some_flow())
    again = open_cache(tmp_path)
    np.testing.assert_array_equal(again.read(3, digest(1)), some_flow())
    np.testing.assert_array_equal(again.read(3), some_flow())
    assert again.read(2) is None and again.read(2, digest(0)) is None


def test_flow_of_other_frames_is_not_used(tmp_path):
    cache = open_cache(tmp_path)
    cache.write(0, digest(1), some_flow())
    assert cache.read(0, digest(2)) is None
    cache.write(0, digest(2), some_flow(1))
    np.testing.assert_array_equal(cache.read(0, digest(2)), some_flow(1))


@pytest.mark.parametrize(
    "settings, shape",
    [(SETTINGS | {"version": 2}, SHAPE), (SETTINGS, (3, 8, 8, 2))],
)
def test_other_settings_have_files_of_their_own(tmp_path, settings, shape):
    open_cache(tmp_path).write(0, digest(1), some_flow())
    assert open_cache(tmp_path, settings, shape=shape).read(0, digest(1)) is None
    np.testing.assert_array_equal(open_cache(tmp_path).read(0, digest(1)), some_flow())


def test_damaged_flow_is_not_used(tmp_path):
    open_cache(tmp_path).write(1, digest(1), some_flow())
    (file,) = (tmp_path / flow_cache.FOLDER).glob("*.data")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    assert open_cache(tmp_path).read(1, digest(1)) is None
    file.write_bytes(content[:-7])
    assert open_cache(tmp_path).read(1, digest(1)) is None


@pytest.mark.parametrize("entries", [b"", b"x" * 30, b"\xff" * 200])
def test_damaged_entries_are_not_used(tmp_path, entries):
    open_cache(tmp_path).write(1, digest(1), some_flow())
    (file,) = (tmp_path / flow_cache.FOLDER).glob("*.entries")
    file.write_bytes(entries)
    cache = open_cache(tmp_path)
    assert cache.read(1, digest(1)) is None
    cache.write(1, digest(1), some_flow())
    np.testing.assert_array_equal(open_cache(tmp_path).read(1), some_flow())


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """Returns a function that makes the folder read-only, also for root."""
    opened, mkdir = os.open, os.mkdir

    def open_to_read(path, flags, *arguments, **options):
        if flags & (os.O_RDWR | os.O_CREAT) and str(path).startswith(str(tmp_path)):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, flags, *arguments, **options)

    def make(path, *arguments, **options):
        if str(path).startswith(str(tmp_path)):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        mkdir(path, *arguments, **options)

    def refuse():
        monkeypatch.setattr(os, "open", open_to_read)
        monkeypatch.setattr(os, "mkdir", make)

    return refuse


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_records_in_a_read_only_folder(tmp_path, read_only, capsys):
    read_only()
    cache = open_cache(tmp_path)
    turn = Turn([cache])
    turn.begin()
    assert cache.read(4, digest(1)) is None
    cache.write(4, digest(1), some_flow())
    turn.end()
    np.testing.assert_array_equal(cache.read(4, digest(1)), some_flow())
    assert not list(tmp_path.iterdir())
    expected = f"new optical flow in {tmp_path / 'inputs'}: Read-only file system. It"
    assert expected in capsys.readouterr().err


def test_finished_flow_in_a_read_only_folder_is_used(tmp_path, read_only, capsys):
    cache = open_cache(tmp_path, number=2)
    for index in range(2):
        cache.write(index, digest(index + 1), some_flow(index))
    before = contents(tmp_path)
    read_only()
    cache = open_cache(tmp_path, number=2)
    for index in range(2):
        flow = cache.read(index, digest(index + 1))
        np.testing.assert_array_equal(flow, some_flow(index))
    assert capsys.readouterr().err == ""
    assert contents(tmp_path) == before


def test_only_missing_flow_is_temporary(tmp_path, read_only, capsys):
    cache = open_cache(tmp_path, number=3)
    cache.write(0, digest(1), some_flow())
    cache.write(1, digest(2), some_flow(1))
    before = contents(tmp_path)
    read_only()
    cache = open_cache(tmp_path, number=3)
    cache.write(1, digest(5), some_flow(5))  # of other frames
    cache.write(2, digest(3), some_flow(2))
    for index, frames, seed in ((0, 1, 0), (1, 5, 5), (2, 3, 2)):
        for given in (digest(frames), None):
            np.testing.assert_array_equal(cache.read(index, given), some_flow(seed))
    assert contents(tmp_path) == before
    assert capsys.readouterr().err.count("Cannot keep new optical flow") == 1


def test_other_errors_are_raised(tmp_path):
    (tmp_path / "inputs").write_text("a file where the folder should be")
    with pytest.raises(FileExistsError):
        open_cache(tmp_path)


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    cache = open_cache(tmp_path)

    def full(descriptor, content, offset):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        cache.write(0, digest(1), some_flow())
    monkeypatch.undo()
    assert open_cache(tmp_path).read(0, digest(1)) is None


def lock_of(cache):
    """Returns the lock as another process has it."""
    (data,) = cache.folder.glob("*.data")
    return filelock.FileLock(data.with_suffix(".lock"), thread_local=False)


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        yield threads


def test_a_turn_reads_what_was_written_meanwhile(tmp_path, pool, capsys):
    first, second = open_cache(tmp_path), open_cache(tmp_path)
    turns = Turn([first]), Turn([second])
    turns[0].begin()
    begun = pool.submit(turns[1].begin)
    assert second.read(0, digest(1)) is None
    text = "Waiting for another process that computes the optical flow in "
    wait_for_message(f"{text}{tmp_path / 'inputs'}.", capsys)
    first.write(0, digest(1), some_flow())
    time.sleep(3 * flow_cache._POLL_SECONDS)
    assert not begun.done()
    turns[0].end()
    begun.result(timeout=30)
    np.testing.assert_array_equal(second.read(0, digest(1)), some_flow())
    turns[1].end()
    assert text not in capsys.readouterr().err  # said once


def test_a_turn_begins_when_the_other_process_is_killed(tmp_path, pool, capsys):
    cache = open_cache(tmp_path)
    path = lock_of(cache).lock_file
    program = f"import filelock, time; lock = filelock.FileLock({path!r}); "
    program += "lock.acquire(); print('acquired', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "acquired\n"
        turn = Turn([cache])
        begun = pool.submit(turn.begin)
        wait_for_message("Waiting for another process", capsys)
        other.kill()
        begun.result(timeout=30)
    turn.end()


def test_the_wait_for_a_turn_can_be_interrupted(tmp_path, pool, capsys):
    cache = open_cache(tmp_path)
    with lock_of(cache):
        turn = Turn([cache])
        begun = [pool.submit(turn.begin) for _ in range(2)]
        wait_for_message("Waiting for another process", capsys)
        turn.end()
        for one in begun:
            with pytest.raises(concurrent.futures.CancelledError):
                one.result(timeout=30)


def test_turns_of_several_caches_do_not_wait_for_each_other(tmp_path, pool, capsys):
    """They acquire the locks in the same order, whatever that of the data sets."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    first, last = map(open_cache, folders)
    turn = Turn([last, first])
    with lock_of(first):
        begun = pool.submit(turn.begin)
        wait_for_message("Waiting for another process", capsys)
        with lock_of(last).acquire(timeout=0):
            pass
    begun.result(timeout=30)
    with pytest.raises(filelock.Timeout):
        lock_of(last).acquire(timeout=0)
    turn.end()
    for cache in (first, last):
        lock_of(cache).acquire(timeout=0).lock.release()


def test_flow_is_not_kept_without_access_to_the_lock(tmp_path, monkeypatch, capsys):
    """Files of another user may be writable where the lock is not."""
    open_cache(tmp_path).write(0, digest(1), some_flow())

    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    before = contents(tmp_path)
    cache = open_cache(tmp_path)
    turn = Turn([cache])
    turn.begin()
    cache.write(1, digest(2), some_flow(1))
    turn.end()
    for index in range(2):
        flow = cache.read(index, digest(index + 1))
        np.testing.assert_array_equal(flow, some_flow(index))
    assert contents(tmp_path) == before
    assert "inputs: Permission denied. It is computed" in capsys.readouterr().err


def test_a_part_that_fits_is_followed_by_the_rest(tmp_path, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda file, content, offset: write(file, content[:10], offset)
    )
    cache = open_cache(tmp_path)
    cache.write(0, digest(1), some_flow())
    np.testing.assert_array_equal(open_cache(tmp_path).read(0), some_flow())
