"""The server of the page: starts it, opens the browser, and deletes what is left."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import filelock
import uvicorn

from meranet_jax.errors import UserError
from meranet_jax.web import application, security
from meranet_jax.web.job_files import JobFiles

# Names of this machine, for itself
_LOCAL = ("127.0.0.1", "localhost", "[::1]")

# Seconds in which answers may end when the server stops
_GRACE = 2

# What temporary folders of recordings are called
_PREFIX = "meranet-jax-page-"

# The file in a folder of recordings that its server holds
_LOCK = ".lock"


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    runs: str | None = None,
    data: str | None = None,
    keep: bool = False,
    open_browser: bool = True,
) -> None:
    """Serves the page until the user stops it.

    Args:
      host: address to listen at. Others than 127.0.0.1 are reachable from the network.
      port: to listen at; 0 for any that is free.
      runs: folder below which runs can be chosen; None for none.
      data: folder of the recordings; None for a temporary one.
      keep: whether recordings and results are kept at the end.
      open_browser: whether to open the page.

    Raises:
      UserError: if a folder or the port cannot be used.
    """
    run_folder = None if runs is None else Path(runs).expanduser().absolute()
    if keep and data is None:
        raise UserError(
            "--keep needs a folder to keep recordings in. Add --data=FOLDER."
        )
    if run_folder is not None and not run_folder.is_dir():
        raise UserError(f"--runs={runs} is not a folder. Give the folder of your runs.")
    with contextlib.closing(_listen(host, port)) as sock, _folder(data, keep) as folder:
        port = sock.getsockname()[1]
        token = security.make_token()
        launch = security.make_token() if open_browser else None
        names = _names(host)
        app = application.make_application(
            folder,
            token=token,
            launch=launch,
            hosts=names,
            port=port,
            run_folder=run_folder,
            keep=keep,
        )
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
        shown = anywhere.get(host, _bracketed(host))
        if not _is_local(host):
            others = ", ".join(sorted(names - {*_LOCAL, _bracketed(host)}))
            print(
                f"--host={host}: other machines of the network can reach this server"
                + (f", under these names: {others}" if others else "")
                + ". The address below is a password, and is sent without encryption. "
                "Browsers allow the webcam on this machine only."
            )
        print(
            f"Open http://{shown}:{port}/?token={token}\nStop with Ctrl+C.", flush=True
        )
        if not keep:
            print(
                "Recordings are deleted when this stops. To keep them: --data=FOLDER "
                "--keep.",
                flush=True,
            )
        if open_browser:
            address = f"http://{shown}:{port}/?token={launch}"
            # It may wait for the browser.
            threading.Thread(
                target=webbrowser.open, args=(address,), daemon=True
            ).start()
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            loop="asyncio",  # uvloop, where it is installed, forks to start a worker
            timeout_graceful_shutdown=_GRACE,
        )
        # uvicorn raises the signal again when it has stopped; without this handler that
        # would end the process before the recordings are deleted.
        signal.signal(signal.SIGTERM, _exit)
        logging.getLogger("uvicorn.error").addFilter(_is_no_end)
        server = uvicorn.Server(config)
        for number in _hang_up():
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            server.run(sockets=[sock])
        if keep:
            print(f"Recordings and results: {folder}")


def _hang_up() -> list[signal.Signals]:
    """Returns the signal of a terminal that is closed, where there is one."""
    return [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []


def _is_no_end(record: logging.LogRecord) -> bool:
    """Whether a message is of something else than that the server is stopped."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError | KeyboardInterrupt)


def _exit(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _listen(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen()  # the browser may be faster than the server
    except (OSError, OverflowError) as error:
        sock.close()
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Cannot listen at {host}, port {port}: {reason}. Choose another --port; "
            "0 is any that is free."
        ) from None
    return sock


@contextlib.contextmanager
def _folder(data: str | None, keep: bool) -> Iterator[Path]:
    """Yields the folder of recordings, and deletes them afterwards unless kept."""
    if data is None:
        _delete_left()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    else:
        folder = Path(data).expanduser().absolute() / "page"
        _make_own(folder, data)
    lock = filelock.FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(
            f"--data={data} is used by another server. Stop it, or choose another "
            "folder."
        ) from None
    with lock:
        if not keep and any(path.name != _LOCK for path in folder.iterdir()):
            raise UserError(
                f"--data={data} has recordings of an earlier start, which would be "
                "deleted at the end. Add --keep, or choose another folder."
            )
        try:
            yield folder
        finally:
            if not keep:
                recordings = _recordings(folder)
                _delete(folder)
                deleted = recordings - _recordings(folder)
                # The terminal may be closed.
                with contextlib.suppress(OSError):
                    print(
                        "Recordings deleted with their results and corrections: "
                        f"{deleted}.",
                        flush=True,
                    )


def _recordings(folder: Path) -> int:
    """Returns the number of recordings in a folder, which may not exist."""
    return sum(1 for _ in folder.glob(f"*/{JobFiles(folder).job.name}"))


def _make_own(folder: Path, data: str) -> None:
    """Makes the folder of recordings, unless the user has one that nobody else writes.

    Raises:
      UserError: if it cannot be made, or others may have written into it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UserError(
            f"--data={data}: the folder {folder} cannot be made ({error.strerror}). "
            "Choose another one."
        ) from error
    if not hasattr(os, "getuid"):  # on Windows
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UserError(
            f"--data={data}: {folder} is a link or belongs to another user, who could "
            "read your recordings. Choose another folder."
        )
    if found.st_mode & 0o077:
        raise UserError(
            f"--data={data}: other users of this machine can open {folder}. Keep it to "
            f"yourself with chmod 700 {folder}, or choose another folder."
        )


def _delete_left() -> None:
    """Deletes the temporary folders of servers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, filelock.Timeout):
            if hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid():
                continue
            if folder.is_symlink() or not (folder / _LOCK).is_file():
                continue
            with filelock.FileLock(folder / _LOCK, timeout=0):
                print("The recordings of a server that was killed are deleted.")
                _delete(folder)


def _delete(folder: Path) -> None:
    """Deletes a folder of recordings whose lock is held, and the lock at the end."""
    try:
        for path in folder.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(folder)
    except OSError as error:
        print(
            f"{folder} cannot be deleted completely ({error.strerror}). Delete it: it "
            "may have recordings.",
            file=sys.stderr,
        )


def _names(host: str) -> set[str]:
    """Returns the names by which a browser may call this server."""
    names = {*_LOCAL, _bracketed(host)}
    if not _is_local(host):
        name = socket.gethostname()
        names.add(name)
        with contextlib.suppress(OSError):
            names |= {
                _bracketed(str(info[4][0])) for info in socket.getaddrinfo(name, None)
            }
    return names


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
