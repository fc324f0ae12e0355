"""Features and landmarks of clips, computed once and kept in files.

The files are in the folder ``inputs`` of the records, as those of optical flow
(``flow_cache``). Their names have a digest of everything that the values depend on: the
clips, the settings, and the source code. If the folder is read-only, the values are
computed at each start.
"""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import filelock
import numpy as np

from meranet_jax.data.flow_cache import FOLDER, READ_ONLY
from meranet_jax.files import atomic_write

# A file has a checksum, followed by an array in NumPy's format.
_CHECKSUM_BYTES = 4


def compute_key(
    arrays: Iterable[np.ndarray],
    settings: object,
    *,
    code: Sequence[str],
    libraries: Sequence[str] = (),
) -> str:
    """Returns the digest of everything that values depend on.

    Args:
      arrays: what the values are computed from.
      settings: settings that they depend on, which JSON can represent.
      code: folders of this package that contain the code, such as ``descriptors``.
      libraries: distributions that the code uses.
    """
    digest = hashlib.blake2b(digest_size=16)
    versions = [f"{name} {_version(name)}" for name in ("numpy", *libraries)]
    digest.update(json.dumps([settings, versions]).encode())
    for folder in code:
        for file in sorted((Path(__file__).parents[1] / folder).rglob("*.py")):
            digest.update(hashlib.blake2b(file.read_bytes()).digest())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def load_or_compute(
    records: Path, name: str, compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """Reads an array from its file, or computes and keeps it.

    One process at a time computes it; others wait, and read what it wrote.

    Args:
      records: the folder of the records.
      name: of the array, with the digest of everything that it depends on.
      compute: computes the array.

    Raises:
      OSError: if the file cannot be written, and the folder is not read-only.
    """
    path = Path(records) / FOLDER / f"{name}.data"
    if (array := _read(path)) is not None:
        return array
    try:
        path.parent.mkdir(exist_ok=True)
        with _lock(path):
            array = _read(path)
            if array is None:
                array = compute()
                _write(path, array)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        print(
            f"Cannot keep features in {path.parent}: {error.strerror}. They are "
            "computed again at each start. Make that folder writable, or use a copy of "
            "the records (--data_dir).",
            file=sys.stderr,
        )
    return compute() if array is None else array


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Waits until no other process computes the file; says so if it has to wait."""
    # The system frees the lock if the process is killed.
    lock = filelock.FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(
            f"Waiting for another process that computes features in {path.parent}.",
            file=sys.stderr,
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _read(path: Path) -> np.ndarray | None:
    """Returns the array in a file; None if there is none, or the file is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, array = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    if checksum != _checksum(array):
        return None
    return np.load(io.BytesIO(array), allow_pickle=False)


def _write(path: Path, array: np.ndarray) -> None:
    saved = io.BytesIO()
    np.save(saved, array, allow_pickle=False)
    content = saved.getvalue()
    with atomic_write(path) as part:
        part.write_bytes(_checksum(content) + content)


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "little")
