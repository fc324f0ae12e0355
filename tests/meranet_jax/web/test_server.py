"""The server as a process: its address, its folder and its messages."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from meranet_jax import __main__ as command_line
from tests.programs import ROOT


def started(*arguments, **environment):
    """Starts the server, and returns its process and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "meranet_jax", "serve", "--port=0", "--no_browser"]
        + [*map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment,
    )
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S{40,}", line):
            return process, found.group()
    raise AssertionError(f"The server ended: {process.wait()}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_everything_is_deleted_at_the_end(number, tmp_path):
    process, address = started(TMPDIR=str(tmp_path))
    try:
        _opened_and_stopped(process, address, number, tmp_path)
    finally:
        process.kill()
        process.communicate()


def _opened_and_stopped(process, address, number, tmp_path):
    (folder,) = tmp_path.iterdir()
    jar = urllib.request.HTTPCookieProcessor()
    browser = urllib.request.build_opener(jar)
    with browser.open(address, timeout=20) as answer:
        assert b"Drop a video here" in answer.read()
    (folder / ("a" * 32)).mkdir()
    (folder / ("a" * 32) / "job.json").touch()
    assert folder.stat().st_mode & 0o077 == 0
    process.send_signal(number)
    process.wait(timeout=20)
    assert process.returncode in (0, 128 + number)
    assert "Traceback" not in process.stderr.read()
    said = process.stdout.read()
    assert "To keep them: --data=FOLDER --keep." in said
    assert "deleted with their results and corrections: 1." in said
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_server_has_left_is_deleted(tmp_path):
    process, _ = started(TMPDIR=str(tmp_path))
    process.kill()
    process.communicate()
    (left,) = tmp_path.iterdir()
    (left / "recording").write_text("a face")
    other = tmp_path / "meranet-jax-page-of-another-program"
    other.mkdir()
    running, _ = started(TMPDIR=str(tmp_path))
    try:
        assert not left.exists() and other.exists()
        third, _ = started(TMPDIR=str(tmp_path))
        third.kill()
        third.communicate()
        assert len(list(tmp_path.iterdir())) == 3, "that of a running server is kept"
    finally:
        running.kill()
        running.communicate()


def refused(*arguments):
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["serve", "--no_browser", *map(str, arguments)])
    return str(stopped.value)


def test_what_cannot_be_used_is_said(tmp_path):
    assert "Add --data=FOLDER" in refused("--keep")
    missing = refused(f"--runs={tmp_path / 'none'}")
    assert "is not a folder" in missing
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "Choose another --port" in refused(f"--port={port}")
    (tmp_path / "page").mkdir(mode=0o700)
    (tmp_path / "page" / ("a" * 32)).mkdir()
    (tmp_path / "page" / ".lock").touch()
    kept = refused("--port=0", f"--data={tmp_path}")
    assert "Add --keep" in kept and (tmp_path / "page" / ("a" * 32)).is_dir()
    (tmp_path / "page").chmod(0o755)
    assert "chmod 700" in refused("--port=0", f"--data={tmp_path}", "--keep")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "page").symlink_to(tmp_path)
    assert "is a link" in refused("--port=0", f"--data={tmp_path / 'other'}", "--keep")
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refused("--port=0", f"--data={tmp_path / 'file'}")


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "meranet_jax.web.server", raising=False)
    monkeypatch.delattr("meranet_jax.web.server", raising=False)
    assert 'pip install "meranet-jax[web]"' in refused()
