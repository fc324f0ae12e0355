"""Checkpoints of a run, and how Orbax writes and reads them.

Each process writes those of the folds that it trains, without the others.
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

# The two parts of a checkpoint.
_ARRAYS, _FACTS = "arrays", "facts"
# Its digests.
_SEAL = "digests.json"


class _Damaged(UserError):
    """A checkpoint is not what was written."""


class Checkpoints:
    """The last states of a fold in training: arrays, and what is known of them.

    A context manager: saving goes on in the background, and leaving waits for it.
    """

    def __init__(
        self, folder: Path, tell: Callable[[str], None], *, read_only: bool = False
    ):
        """Opens ``folder``, which is made.

        Args:
          folder: of this fold alone.
          tell: called with what a user should know.
          read_only: whether another process saves.

        Raises:
          UserError: if it cannot be opened.
        """
        self._folder, self._tell, self._read_only = folder, tell, read_only
        self._saving = None
        # Orbax prints what fails in its threads, traceback and all, and then raises it.
        absl.logging.set_verbosity(absl.logging.FATAL)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,  # so that there is one should the last not be whole
            create=False,  # Orbax leaves it to us where a process works alone
            cleanup_tmp_directories=not read_only,  # of a start that was killed
            read_only=read_only,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            multiprocessing_options=_alone(),
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(
                folder.absolute(),
                options=options,
                item_handlers={
                    _ARRAYS: _handler(),
                    _FACTS: ocp.JsonCheckpointHandler(multiprocessing_options=_alone()),
                },
            )
        except (ValueError, OSError) as error:
            raise UserError(f"{folder} cannot be opened: {error}") from error

    def save(self, step: int, arrays: Callable[[], object], facts: dict) -> None:
        """Keep them, unless those of this step are kept already or another saves.

        Args:
          step: how many are done.
          arrays: gives a tree of them.
          facts: what JSON can tell.

        Raises:
          UserError: if this one, or the one before in the background, is not written.
        """
        if self._read_only or self._manager.latest_step() == step:
            return
        # From the host, so that another number of devices can read it.
        arrays = jax.tree.map(np.asarray, jax.device_get(arrays()))
        _check_space(self._folder, arrays, f"the checkpoint of step {step}")
        args = {
            _ARRAYS: ocp.args.PyTreeSave(_to_write(arrays)),
            _FACTS: ocp.args.JsonSave(facts),
        }
        with _writing(self._folder):
            self._manager.wait_until_finished()
            self._saving = step
            self._manager.save(step, args=ocp.args.Composite(**args))

    def _seal(self) -> None:
        """Note what was written, before Orbax gives it its name.

        Of most files Orbax has no checksums, and of damaged ones its threads tell at
        length.
        """
        step = str(self._saving)
        (written,) = (
            path
            for path in self._folder.iterdir()
            if path.name == step or path.name.startswith(f"{step}.")
        )
        write_json(written / _SEAL, _digests(written))

    def wait(self) -> None:
        """Until all that was saved is written.

        Raises:
          UserError: if it is not.
        """
        with _writing(self._folder):
            self._manager.wait_until_finished()

    def newest(self, shapes: Callable[[dict], object]) -> tuple[object, dict] | None:
        """The last arrays and facts that are whole; None if there are none.

        Those that are damaged are set aside, and it is told.

        Args:
          shapes: gives the arrays' shapes and types, as a tree, for the facts.

        Raises:
          UserError: if one cannot be read and may yet be whole.
        """
        self.wait()
        self._manager.reload()  # another process may have set some aside
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(step, shapes)
            except _Damaged as error:
                if self._read_only:
                    raise
                aside = self._folder.with_name("damaged") / str(step)
                self._tell(
                    f"{error}\nIt was moved to {aside}, and the one before it is tried."
                )
                shutil.rmtree(aside, ignore_errors=True)
                aside.parent.mkdir(exist_ok=True)
                (self._folder / str(step)).rename(aside)
                self._manager.reload()
        return None

    def _read(self, step: int, shapes) -> tuple[object, dict]:
        what, folder = f"the checkpoint of step {step}", self._folder / str(step)
        with _reading(self._folder, what, _Damaged):
            if json.loads((folder / _SEAL).read_text()) != _digests(folder):
                raise ValueError("its files are not those that were written")
            args = ocp.args.Composite(**{_FACTS: ocp.args.JsonRestore()})
            facts = self._manager.restore(step, args=args)[_FACTS]
            wanted = shapes(facts)
            args = ocp.args.Composite(**{_ARRAYS: _to_read(wanted)})
            arrays = self._manager.restore(step, args=args)[_ARRAYS]
            _check_shapes(arrays, wanted, self._folder)
        return arrays, facts

    def __enter__(self):
        return self

    def __exit__(self, exception_type, *exception):
        if exception_type is None:
            with _writing(self._folder):
                self._manager.close()
        else:  # which must not be hidden by what follows from it
            with contextlib.suppress(Exception):
                self._manager.close()


def save_weights(folder: Path, weights) -> None:
    """Keep what predicts, and nothing else, in ``folder``: whole or not at all.

    Raises:
      UserError: if it cannot be written.
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
    """The weights, of these shapes and types, that ``save_weights`` kept.

    Raises:
      UserError: if they cannot be read or do not fit.
    """
    if not folder.is_dir():
        raise UserError(f"No weights in {folder}; train the run first.")
    with (
        _reading(folder, "the weights"),
        _checkpointer() as checkpointer,
    ):
        weights = checkpointer.restore(folder.absolute(), _to_read(shapes))
    _check_shapes(weights, shapes, folder)
    return weights


def _digests(folder: Path) -> dict[str, str]:
    """Of all files of both parts; Orbax adds some beside these later."""
    found = {}
    parts = (folder.glob(f"{part}/**/*") for part in (_ARRAYS, _FACTS))
    for path in sorted(itertools.chain(*parts)):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "blake2b").hexdigest()
            found[path.relative_to(folder).as_posix()] = digest
    return found


def _alone() -> ocp.options.MultiprocessingOptions:
    """That this process writes and waits for no other."""
    place = jax.process_index()
    several = {"active_processes": {place}, "barrier_sync_key_prefix": f"of {place}"}
    return ocp.options.MultiprocessingOptions(
        primary_host=place, **(several if jax.process_count() > 1 else {})
    )


def _handler() -> ocp.PyTreeCheckpointHandler:
    types = ocp.type_handlers
    arrays = types.ArrayHandler(
        primary_host=jax.process_index(),
        use_replica_parallel=False,  # else other processes were to write a part
        enable_write_sharding_file=False,  # which names devices
    )
    registry = types.create_type_handler_registry(
        (jax.Array, arrays), (np.ndarray, types.NumpyHandler())
    )
    return ocp.PyTreeCheckpointHandler(
        multiprocessing_options=_alone(), type_handler_registry=registry
    )


def _checkpointer() -> ocp.Checkpointer:
    return ocp.Checkpointer(_handler(), multiprocessing_options=_alone())


def _to_write(tree):
    """The arrays of a tree on the host as Orbax writes them from this process.

    NumPy arrays it writes from the first process alone, and arrays that lie wholly on
    one of several processes not at all. So of several these are given as the first
    copy of arrays of which others seem to hold a second.
    """
    if jax.process_count() == 1:
        return tree
    here = jax.local_devices()[0]
    there = next(d for d in jax.devices() if d.process_index != here.process_index)
    mesh = jax.sharding.Mesh(np.array([here, there]), ("copies",))
    copies = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def first_copy(leaf):
        return jax.make_array_from_single_device_arrays(
            np.shape(leaf), copies, [jax.device_put(leaf, here)]
        )

    return jax.tree.map(first_copy, tree)


def _to_read(shapes) -> ocp.args.PyTreeRestore:
    to_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.args.PyTreeRestore(
        item=shapes, restore_args=jax.tree.map(lambda _: to_numpy, shapes)
    )


def _check_space(folder: Path, tree, what: str) -> None:
    # Asked before, since of a disk that fills up Orbax tells at length.
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    free = shutil.disk_usage(folder).free
    if free < 2 * size:  # its parts are merged before they are deleted
        raise UserError(
            f"Writing {what} takes {2 * size / 1e6:.1f} MB, but {folder} has "
            f"{free / 1e6:.1f} MB left. Free some space, or choose another place with "
            "--runs_dir."
        )


def _check_shapes(found, wanted, folder: Path) -> None:
    """Orbax checks the names of the arrays, not their shapes."""
    for (path, ours), theirs in zip(
        jax.tree_util.tree_leaves_with_path(wanted), jax.tree.leaves(found), strict=True
    ):
        if ours.shape != theirs.shape:
            raise UserError(
                f"{folder} is of another network: {jax.tree_util.keystr(path)} is "
                f"{theirs.shape}, not {ours.shape}."
            )


@contextlib.contextmanager
def _writing(folder: Path):
    """Orbax's many exceptions of a failed write as one."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"A checkpoint cannot be written to {folder}: {error}"
        ) from error


@contextlib.contextmanager
def _reading(folder: Path, what: str, damage: type[UserError] = UserError):
    """Whatever Orbax, and what it is built on, make of a damaged file as one.

    What may be read another time is no damage.
    """
    try:
        yield
    except Exception as error:
        passes = isinstance(error, (OSError, MemoryError))
        passes &= not isinstance(error, FileNotFoundError)
        why = (str(error).splitlines() or [type(error).__name__])[0]
        kind = UserError if passes else damage
        raise kind(f"Of {folder} {what} cannot be read: {why}") from error
