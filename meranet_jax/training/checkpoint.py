"""Checkpoints of a fold, written and read with Orbax.

Each process writes the checkpoints of the folds that it trains, without synchronising
with other processes.
"""

import contextlib
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from meranet_jax.errors import UserError
from meranet_jax.files import write_json

# Names of the two items of a checkpoint on disk: arrays, and progress as JSON.
_ARRAYS, _PROGRESS = "arrays", "facts"
# File with the digests of both items.
_DIGESTS = "digests.json"


class _DamagedError(UserError):
    """The files of a checkpoint are not those that were written."""


class Checkpoints:
    """Saves and restores the last two states of a fold in training.

    A context manager: checkpoints are written in the background, and leaving the block
    waits until the last one is written.
    """

    def __init__(
        self, folder: Path, notify: Callable[[str], None], *, read_only: bool = False
    ):
        """Opens a folder of checkpoints and creates it if it does not exist.

        Args:
          folder: used by this fold only.
          notify: called with messages for the user.
          read_only: whether another process saves the checkpoints.

        Raises:
          UserError: if the folder cannot be opened.
        """
        self._folder, self._notify, self._read_only = folder, notify, read_only
        self._saving = None
        # Orbax prints the traceback of an error in its threads before it raises it.
        absl.logging.set_verbosity(absl.logging.FATAL)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,  # the earlier one is used if the latest is damaged
            create=False,  # Orbax cannot create it for a single process of several
            cleanup_tmp_directories=not read_only,  # left by a process that was killed
            read_only=read_only,
            async_options=ocp.AsyncOptions(
                post_finalization_callback=self._write_digests
            ),
            multiprocessing_options=_single_process(),
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(
                folder.absolute(),
                options=options,
                item_handlers={
                    _ARRAYS: _handler(),
                    _PROGRESS: ocp.JsonCheckpointHandler(
                        multiprocessing_options=_single_process()
                    ),
                },
            )
        except (ValueError, OSError) as error:
            raise UserError(f"Cannot open {folder}: {error}") from error

    def save(self, step: int, arrays: Callable[[], object], progress: dict) -> None:
        """Saves a checkpoint in the background.

        Does nothing if this step is saved already or another process saves.

        Args:
          step: number of steps done.
          arrays: returns a tree of arrays.
          progress: JSON-serialisable.

        Raises:
          UserError: if this checkpoint, or the previous one in the background, cannot
            be written.
        """
        if self._read_only or self._manager.latest_step() == step:
            return
        # Saved from the host, so that any number of devices can restore it.
        arrays = jax.tree.map(np.asarray, jax.device_get(arrays()))
        _check_space(self._folder, arrays, f"the checkpoint of step {step}")
        args = {
            _ARRAYS: ocp.args.PyTreeSave(_to_write(arrays)),
            _PROGRESS: ocp.args.JsonSave(progress),
        }
        with _writing(self._folder):
            self._manager.wait_until_finished()
            self._saving = step
            self._manager.save(step, args=ocp.args.Composite(**args))

    def _write_digests(self) -> None:
        """Writes the digests of a checkpoint's files before Orbax commits it.

        Orbax has no checksums for most files, and its threads print long tracebacks for
        damaged ones.
        """
        step = str(self._saving)
        (written,) = (
            path
            for path in self._folder.iterdir()
            if path.name == step or path.name.startswith(f"{step}.")
        )
        write_json(written / _DIGESTS, _digests(written))

    def wait(self) -> None:
        """Waits until all checkpoints are written.

        Raises:
          UserError: if one cannot be written.
        """
        with _writing(self._folder):
            self._manager.wait_until_finished()

    def restore_latest(
        self, shapes: Callable[[dict], object]
    ) -> tuple[object, dict] | None:
        """Restores the latest checkpoint that is not damaged.

        Damaged checkpoints are moved to the folder ``damaged``, with a notification.

        Args:
          shapes: returns a tree of the arrays' shapes and types, given the progress.

        Returns:
          The arrays and the progress; None if there is no checkpoint.

        Raises:
          UserError: if a checkpoint cannot be read for another reason than damage.
        """
        self.wait()
        self._manager.reload()  # another process may have moved damaged ones
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(step, shapes)
            except _DamagedError as error:
                if self._read_only:
                    raise
                moved = self._folder.with_name("damaged") / str(step)
                self._notify(
                    f"{error}\nMoved it to {moved}; trying the previous checkpoint."
                )
                shutil.rmtree(moved, ignore_errors=True)
                moved.parent.mkdir(exist_ok=True)
                (self._folder / str(step)).rename(moved)
                self._manager.reload()
        return None

    def _read(self, step: int, shapes) -> tuple[object, dict]:
        what, folder = f"the checkpoint of step {step}", self._folder / str(step)
        with _reading(self._folder, what, _DamagedError):
            if json.loads((folder / _DIGESTS).read_text()) != _digests(folder):
                raise ValueError("its files are not those that were written")
            args = ocp.args.Composite(**{_PROGRESS: ocp.args.JsonRestore()})
            progress = self._manager.restore(step, args=args)[_PROGRESS]
            expected = shapes(progress)
            args = ocp.args.Composite(**{_ARRAYS: _restore_args(expected)})
            arrays = self._manager.restore(step, args=args)[_ARRAYS]
            _check_shapes(arrays, expected, self._folder)
        return arrays, progress

    def __enter__(self):
        return self

    def __exit__(self, exception_type, *exception):
        if exception_type is None:
            with _writing(self._folder):
                self._manager.close()
        else:  # the exception must not be replaced by a later one
            with contextlib.suppress(Exception):
                self._manager.close()


def save_weights(folder: Path, weights) -> None:
    """Saves weights atomically.

    Args:
      folder: created or replaced.
      weights: a tree of arrays.

    Raises:
      UserError: if they cannot be written.
    """
    weights = jax.device_get(weights)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_space(folder.parent, weights, "the weights")
    with (
        _writing(folder),
        _checkpointer() as checkpointer,
    ):
        args = ocp.args.PyTreeSave(_to_write(weights))
        checkpointer.save(folder.absolute(), args, force=True)


def read_weights(folder: Path, shapes):
    """Reads weights that ``save_weights`` saved.

    Args:
      folder: of the weights.
      shapes: a tree of their expected shapes and types. A dimension of None stands for
        any number.

    Raises:
      UserError: if they cannot be read, or their shapes are not the expected ones.
    """
    if not folder.is_dir():
        raise UserError(f"No weights in {folder}; train the run first.")
    with (
        _reading(folder, "the weights"),
        _checkpointer() as checkpointer,
    ):
        weights = checkpointer.restore(folder.absolute(), _restore_args(shapes))
    _check_shapes(weights, shapes, folder)
    return weights


def _digests(folder: Path) -> dict[str, str]:
    """Returns the digest of each file of both items; Orbax adds other files later."""
    found = {}
    items = (folder.glob(f"{item}/**/*") for item in (_ARRAYS, _PROGRESS))
    for path in sorted(itertools.chain(*items)):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "blake2b").hexdigest()
            found[path.relative_to(folder).as_posix()] = digest
    return found


def _single_process() -> ocp.options.MultiprocessingOptions:
    """Options with which this process writes without waiting for others."""
    index = jax.process_index()
    several = {"active_processes": {index}, "barrier_sync_key_prefix": f"of {index}"}
    return ocp.options.MultiprocessingOptions(
        primary_host=index, **(several if jax.process_count() > 1 else {})
    )


def _handler() -> ocp.PyTreeCheckpointHandler:
    types = ocp.type_handlers
    arrays = types.ArrayHandler(
        primary_host=jax.process_index(),
        use_replica_parallel=False,  # else other processes would have to write a part
        enable_write_sharding_file=False,  # it would bind the checkpoint to devices
    )
    registry = types.create_type_handler_registry(
        (jax.Array, arrays), (np.ndarray, types.NumpyHandler())
    )
    return ocp.PyTreeCheckpointHandler(
        multiprocessing_options=_single_process(), type_handler_registry=registry
    )


def _checkpointer() -> ocp.Checkpointer:
    return ocp.Checkpointer(_handler(), multiprocessing_options=_single_process())


def _to_write(tree):
    """Returns the arrays of a tree in a form that Orbax writes from this process.

    Orbax writes NumPy arrays from the first process only, and does not write arrays
    whose devices all belong to one of several processes. So with several processes each
    array is declared as replicated on a device of this and of another process, of which
    this process holds its replica.
    """
    if jax.process_count() == 1:
        return tree
    local = jax.local_devices()[0]
    other = next(d for d in jax.devices() if d.process_index != local.process_index)
    mesh = jax.sharding.Mesh(np.array([local, other]), ("replicas",))
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def first_replica(leaf):
        return jax.make_array_from_single_device_arrays(
            np.shape(leaf), replicated, [jax.device_put(leaf, local)]
        )

    return jax.tree.map(first_replica, tree)


def _restore_args(shapes) -> ocp.args.PyTreeRestore:
    to_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.args.PyTreeRestore(
        item=shapes, restore_args=jax.tree.map(lambda _: to_numpy, shapes)
    )


def _check_space(folder: Path, tree, what: str) -> None:
    # Checked first, since Orbax prints long tracebacks when a disk is full.
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    free = shutil.disk_usage(folder).free
    if free < 2 * size:  # its parts are merged before they are deleted
        raise UserError(
            f"Writing {what} needs {2 * size / 1e6:.1f} MB, but {folder} has "
            f"{free / 1e6:.1f} MB left. Free some space, or choose another folder with "
            "--runs_dir."
        )


def _check_shapes(restored, expected, folder: Path) -> None:
    """Raises UserError for another shape; Orbax checks the names of arrays only."""
    for (path, wanted), found in zip(
        jax.tree_util.tree_leaves_with_path(expected),
        jax.tree.leaves(restored),
        strict=True,
    ):
        if len(wanted.shape) != len(found.shape) or any(
            size not in (None, of_found)
            for size, of_found in zip(wanted.shape, found.shape, strict=True)
        ):
            raise UserError(
                f"{folder} belongs to another network: {jax.tree_util.keystr(path)} is "
                f"{found.shape}, not {wanted.shape}."
            )


@contextlib.contextmanager
def _writing(folder: Path):
    """Raises any exception of a failed write as UserError."""
    try:
        yield
    except Exception as error:
        raise UserError(f"Cannot write a checkpoint to {folder}: {error}") from error


@contextlib.contextmanager
def _reading(folder: Path, what: str, damage: type[UserError] = UserError):
    """Raises any exception of a failed read as ``damage``.

    Errors that may be transient, such as those of the operating system, are raised as
    UserError.
    """
    try:
        yield
    except Exception as error:
        transient = isinstance(error, (OSError, MemoryError))
        transient &= not isinstance(error, FileNotFoundError)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        kind = UserError if transient else damage
        raise kind(f"Cannot read {what} in {folder}: {reason}") from error
