"""Optical flow of the records of a data set, computed once and kept in files.

The files are in the folder ``inputs`` of the records. Their name has a digest of all
settings that the flow depends on. For each record they have the digest of the frames
that its flow was computed from, so that flow of other frames is never used.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import tempfile
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import filelock
import numpy as np

# Folder of the files in the folder of the records.
FOLDER = "inputs"

# For each record, the digest of the frames that its flow was computed from, zeros if
# there is no flow, and the checksum of the flow.
_ENTRY = np.dtype([("frames", "V16"), ("checksum", "<u4")])

# Errors of a folder that cannot be written to, in which case the flow is not kept.
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class FlowCache:
    """The flow of the records of one data set, float16.

    Flow is written record by record: what is finished when a process stops is not
    computed again. The methods are thread-safe for different records.

    Attributes:
      folder: where the files are; None if the folder of the records is read-only, so
        that they are temporary.
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
          OSError: if the files cannot be read or written.
        """
        self._shape = tuple(shape)
        self._row_bytes = math.prod(shape) * np.dtype(np.float16).itemsize
        text = json.dumps([sorted(settings.items()), list(shape)])
        key = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        self.folder: Path | None = Path(records) / FOLDER
        self._lock: contextlib.AbstractContextManager = contextlib.nullcontext()
        try:
            self.folder.mkdir(exist_ok=True)
            self._flow = _open(self, self.folder / f"flow-{key}.data")
            self._entries_file = _open(self, self.folder / f"flow-{key}.entries")
            self._lock = filelock.FileLock(self.folder / f"flow-{key}.lock")
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            self.folder = None
            with tempfile.TemporaryDirectory() as folder:
                # Open files can be used after their deletion.
                self._flow = _open(self, Path(folder) / "data")
                self._entries_file = _open(self, Path(folder) / "entries")
        self._entries = np.zeros(number, _ENTRY)
        self._read_entries()

    def _read_entries(self) -> None:
        saved = os.pread(self._entries_file, self._entries.nbytes, 0)
        known = np.frombuffer(
            saved[: len(saved) // _ENTRY.itemsize * _ENTRY.itemsize], _ENTRY
        )
        self._entries[: len(known)] = known

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Waits until no other process is in this context, and reads what it wrote."""
        with self._lock:
            self._read_entries()
            yield

    @property
    def is_complete(self) -> bool:
        """Whether there is flow for every record; it may be of other frames."""
        return bool((self._entries["frames"] != np.void(16)).all())

    def read(self, index: int, digest: bytes | None = None) -> np.ndarray | None:
        """Reads the flow of a record.

        Args:
          index: of the record.
          digest: of the frames that the flow must have been computed from, 16 bytes.
            By default that is not checked.

        Returns:
          float16; None if there is no such flow, or it is damaged.
        """
        entry = self._entries[index]
        if digest is not None and entry["frames"].tobytes() != digest:
            return None
        row = os.pread(self._flow, self._row_bytes, index * self._row_bytes)
        if len(row) < self._row_bytes or zlib.crc32(row) != entry["checksum"]:
            return None
        return np.frombuffer(row, np.float16).reshape(self._shape)

    def write(self, index: int, digest: bytes, flow: np.ndarray) -> None:
        """Writes the flow of a record.

        Args:
          index: of the record.
          digest: of the frames that it was computed from, 16 bytes.
          flow: float16.

        Raises:
          OSError: if it cannot be written, for example if the disk is full.
        """
        row = flow.astype(np.float16).tobytes()
        _write(self._flow, row, index * self._row_bytes)
        self._entries[index] = (digest, zlib.crc32(row))
        _write(
            self._entries_file, self._entries[index].tobytes(), index * _ENTRY.itemsize
        )


def _open(owner: FlowCache, path: Path) -> int:
    """Opens a file for as long as its owner exists, and returns its descriptor."""
    # The owner may be used by many threads, so nothing but positioned reads and writes.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    weakref.finalize(owner, os.close, descriptor)
    return descriptor


def _write(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:  # a nearly full disk may take only a part
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
