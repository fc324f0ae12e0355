"""Optical flow of the records of a data set, computed once and kept in files.

The files are in the folder ``inputs`` of the records. Their name has a digest of all
settings that the flow depends on. For each record they have the digest of the frames
that its flow was computed from, so that flow of other frames is never used. In a folder
that is read-only the flow that exists is used, and the rest is written to temporary
files.
"""

import concurrent.futures
import contextlib
import errno
import functools
import hashlib
import json
import math
import os
import sys
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import filelock
import numpy as np

# Folder of the files in the folder of the records.
FOLDER = "inputs"

# For each record, the digest of the frames that its flow was computed from, zeros if
# there is no flow, and the checksum of the flow.
_ENTRY = np.dtype([("frames", "V16"), ("checksum", "<u4")])

# Errors of a folder that cannot be written to, in which case new flow is not kept.
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

# Seconds between two attempts to acquire a lock.
_POLL_SECONDS = 0.2


class FlowCache:
    """The flow of the records of one data set, float16.

    Flow is written record by record: what is finished when a process stops is not
    computed again. The methods are thread-safe for different records.

    Attributes:
      folder: where the files are.
    """

    def __init__(
        self,
        records: Path,
        settings: Mapping[str, object],
        *,
        number: int,
        shape: Sequence[int],
    ):
        """Opens the files, or creates them.

        Args:
          records: the folder of the records.
          settings: everything that the flow depends on, except the frames. JSON can
            represent it.
          number: of records.
          shape: of the flow of one record.

        Raises:
          OSError: if the files cannot be read or written, and the folder is not
            read-only.
        """
        text = json.dumps([sorted(settings.items()), list(shape)])
        key = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        self.folder = Path(records) / FOLDER
        self._open = functools.partial(
            _Files, name=f"flow-{key}", number=number, shape=shape
        )
        self._temporary: _Files | None = None
        self._creation = threading.Lock()
        self._read_only: OSError | None = None  # why new flow is not kept
        # Threads acquire it, and another one releases it.
        self._lock = filelock.FileLock(
            self.folder / f"flow-{key}.lock", thread_local=False
        )
        try:
            self.folder.mkdir(exist_ok=True)
            self._kept: _Files | None = self._open(self.folder)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            self._read_only, self._kept = error, None
            with contextlib.suppress(FileNotFoundError, PermissionError):
                self._kept = self._open(self.folder, writable=False)

    def acquire(self, stop: threading.Event) -> None:
        """Waits until no other process computes this flow, and reads what it wrote.

        If it has to wait, it says so on stderr. Flow in a read-only folder is computed
        without waiting.

        Args:
          stop: ends the wait when it is set.

        Raises:
          CancelledError: if ``stop`` was set.
          OSError: if the file of the lock cannot be opened.
        """
        if self._read_only is None:
            try:
                self._wait(stop)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                self._read_only = error  # the lock file belongs to somebody else
        if self._kept is not None:
            self._kept.read_entries()

    def _wait(self, stop: threading.Event) -> None:
        waits = False
        while not stop.is_set():
            try:
                # The system frees the lock if the process is killed.
                self._lock.acquire(timeout=0)
                return
            except filelock.Timeout:
                if not waits:
                    print(
                        "Waiting for another process that computes the optical flow in "
                        f"{self.folder}.",
                        file=sys.stderr,
                    )
                waits = True
            stop.wait(_POLL_SECONDS)
        raise concurrent.futures.CancelledError

    def release(self) -> None:
        """Lets other processes compute this flow."""
        self._lock.release(force=True)  # also if it was acquired twice

    def read(self, index: int, digest: bytes | None = None) -> np.ndarray | None:
        """Reads the flow of a record.

        Args:
          index: of the record.
          digest: of the frames that the flow must have been computed from, 16 bytes.
            By default that is not checked.

        Returns:
          float16; None if there is no such flow, or it is damaged.
        """
        for files in (self._temporary, self._kept):
            if files is not None and (flow := files.read(index, digest)) is not None:
                return flow
        return None

    def write(self, index: int, digest: bytes, flow: np.ndarray) -> None:
        """Writes the flow of a record.

        Args:
          index: of the record.
          digest: of the frames that it was computed from, 16 bytes.
          flow: float16.

        Raises:
          OSError: if it cannot be written, for example if the disk is full.
        """
        if self._read_only is None:
            self._kept.write(index, digest, flow)
        else:
            self._open_temporary(self._read_only).write(index, digest, flow)

    def _open_temporary(self, reason: OSError) -> "_Files":
        with self._creation:
            if self._temporary is None:
                print(
                    f"Cannot keep new optical flow in {self.folder}: {reason.strerror}."
                    " It is computed again at each start. Make that folder writable, "
                    "or use a copy of the records (--data_dir).",
                    file=sys.stderr,
                )
                with tempfile.TemporaryDirectory() as folder:
                    # Open files can be used after their deletion.
                    self._temporary = self._open(Path(folder))
            return self._temporary


class Turn:
    """The turn of this process to compute the flow of data sets; thread-safe."""

    def __init__(self, caches: Iterable[FlowCache]):
        """Makes a turn, which does not begin yet.

        Args:
          caches: of the data sets.
        """
        # In the same order in each process, so that no two wait for each other.
        self._caches = sorted(caches, key=lambda cache: cache.folder.resolve())
        self._begun = False
        self._ended = threading.Event()
        self._mutex = threading.Lock()

    def begin(self) -> None:
        """Waits until no other process computes the flow; see ``FlowCache.acquire``.

        Later calls have no effect.
        """
        with self._mutex:
            if not self._begun:
                for cache in self._caches:
                    cache.acquire(self._ended)
                self._begun = True

    def end(self) -> None:
        """Ends the turn, or the wait for it."""
        self._ended.set()
        with self._mutex:
            for cache in self._caches:
                cache.release()


class _Files:
    """Two files: the flow of each record, and the entry of each record."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        number: int,
        shape: Sequence[int],
        writable: bool = True,
    ):
        """Opens the files.

        Args:
          folder: of the files.
          name: without suffix.
          number: of records.
          shape: of the flow of one record.
          writable: whether the files are created and may be written to.

        Raises:
          OSError: if they cannot be opened.
        """
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        self._flow = self._open(folder / f"{name}.data", flags)
        self._entries_file = self._open(folder / f"{name}.entries", flags)
        self._shape = tuple(shape)
        self._row_bytes = math.prod(shape) * np.dtype(np.float16).itemsize
        self._entries = np.zeros(number, _ENTRY)
        self.read_entries()

    def _open(self, path: Path, flags: int) -> int:
        """Opens a file for as long as this object exists; returns its descriptor."""
        # It may be used by many threads, so nothing but positioned reads and writes.
        descriptor = os.open(path, flags, 0o666)
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    def read_entries(self) -> None:
        """Reads the entries of all records, which another process may have written."""
        saved = os.pread(self._entries_file, self._entries.nbytes, 0)
        known = np.frombuffer(
            saved[: len(saved) // _ENTRY.itemsize * _ENTRY.itemsize], _ENTRY
        )
        self._entries[: len(known)] = known

    def read(self, index: int, digest: bytes | None) -> np.ndarray | None:
        """See ``FlowCache.read``."""
        entry = self._entries[index]
        if digest is not None and entry["frames"].tobytes() != digest:
            return None
        row = os.pread(self._flow, self._row_bytes, index * self._row_bytes)
        if len(row) < self._row_bytes or zlib.crc32(row) != entry["checksum"]:
            return None
        return np.frombuffer(row, np.float16).reshape(self._shape)

    def write(self, index: int, digest: bytes, flow: np.ndarray) -> None:
        """See ``FlowCache.write``."""
        row = flow.astype(np.float16).tobytes()
        _write(self._flow, row, index * self._row_bytes)
        self._entries[index] = (digest, zlib.crc32(row))
        _write(
            self._entries_file, self._entries[index].tobytes(), index * _ENTRY.itemsize
        )


def _write(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:  # a nearly full disk may take only a part
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
