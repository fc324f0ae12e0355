"""The server of the page: starts it, opens the browser, and deletes what is left."""

import contextlib
import ipaddress
import shutil
import signal
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import filelock
import uvicorn

from meranet_jax.errors import UserError
from meranet_jax.web import application, security

# Names of this machine, for itself
_LOCAL = ("127.0.0.1", "localhost", "[::1]")

# Seconds in which answers may end when the server stops
_GRACE = 2


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
    if run_folder is not None and not run_folder.is_dir():
        raise UserError(f"--runs={runs} is not a folder. Give the folder of your runs.")
    with contextlib.closing(_listen(host, port)) as sock, _folder(data, keep) as folder:
        port = sock.getsockname()[1]
        token = security.make_token()
        app = application.make_application(
            folder,
            token=token,
            hosts=_names(host),
            port=port,
            run_folder=run_folder,
        )
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
        shown = anywhere.get(host, _bracketed(host))
        address = f"http://{shown}:{port}/?token={token}"
        if not _is_local(host):
            print(
                f"--host={host}: other machines of the network can reach this server. "
                "The address below is a password, and is sent without encryption."
            )
        print(f"Open {address}\nStop with Ctrl+C.", flush=True)
        if open_browser:
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
        # uvicorn raises the signal again when it has stopped; without these handlers
        # that would end the process before the recordings are deleted.
        for number in (signal.SIGTERM, *_hang_up()):
            signal.signal(number, _exit)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[sock])
        if keep:
            print(f"Recordings and results: {folder}")


def _hang_up() -> list[signal.Signals]:
    """Returns the signal of a terminal that is closed, where there is one."""
    return [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []


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
        folder = Path(tempfile.mkdtemp(prefix="meranet-jax-page-"))
    else:
        folder = Path(data).expanduser().absolute() / "page"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not keep and any(folder.iterdir()):
            raise UserError(
                f"--data={data} has recordings of an earlier start, which would be "
                "deleted at the end. Add --keep, or choose another folder."
            )
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(
            f"--data={data} is used by another server. Stop it, or choose another "
            "folder."
        ) from None
    try:
        yield folder
    finally:
        lock.release()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


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
