"""Checkpoints of a run; the only place that knows of Orbax."""

import contextlib
import shutil
from pathlib import Path

import absl.logging
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from meranet_jax.errors import UserError


class Checkpoints:
    """The last state of a run and the best one on its validation part.

    A context manager: saving goes on in the background, and leaving waits for it.
    """

    def __init__(self, folder: Path, *, read_only: bool = False):
        """Opens ``folder``, which is made unless ``read_only``.

        Raises:
          UserError: if there is no folder to read.
        """
        if read_only and not folder.is_dir():
            raise UserError(f"No checkpoints in {folder}; train the run first.")
        self._folder = folder
        # Orbax prints what fails in its threads, traceback and all, and then raises it.
        absl.logging.set_verbosity(absl.logging.FATAL)
        options = ocp.CheckpointManagerOptions(
            # max_to_keep would count the last one among the worse ones.
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                [
                    checkpoint_managers.LatestN(1),
                    checkpoint_managers.BestN(get_metric_fn=_rank, n=1),
                ]
            ),
            best_fn=_rank,
            read_only=read_only,
            create=not read_only,
        )
        try:
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)
        except (ValueError, OSError) as error:
            raise UserError(f"{folder} cannot be opened: {error}") from error

    def save(self, epoch: int, state, metrics: dict[str, float]) -> None:
        """Keep ``state`` after ``epoch``; ``metrics`` say how good it is.

        Raises:
          UserError: if this one, or the one before in the background, is not written.
        """
        # From the host, so that another number of devices can read it.
        state = jax.device_get(state)
        # Asked before, since of a disk that fills up Orbax tells at length.
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self._folder).free
        if free < 2 * size:  # its parts are merged before they are deleted
            raise UserError(
                f"Writing the checkpoint of epoch {epoch} takes {2 * size / 1e6:.1f} "
                f"MB, but {self._folder} has {free / 1e6:.1f} MB left. Free some "
                "space, or choose another place with --runs_dir."
            )
        with self._writing():
            self._manager.save(
                epoch, args=ocp.args.StandardSave(state), metrics=metrics
            )

    def best_epoch(self) -> int:
        """The epoch of the state that is best on the validation part.

        The highest accuracy; of equal ones the lowest loss.

        Raises:
          UserError: if nothing was saved.
        """
        with self._writing():
            self._manager.wait_until_finished()
        epoch = self._manager.best_step()
        if epoch is None:
            raise UserError(f"No checkpoint in {self._folder}; train the run first.")
        return epoch

    def restore(self, epoch: int, shapes):
        """The state after ``epoch``, of these shapes and types.

        Raises:
          UserError: if it cannot be read or does not fit.
        """
        try:
            state = self._manager.restore(epoch, args=ocp.args.StandardRestore(shapes))
        except (ValueError, KeyError, OSError) as error:
            raise UserError(
                f"The checkpoint of epoch {epoch} in {self._folder} cannot be read: "
                f"{error}"
            ) from error
        # Orbax checks the names of the arrays, not their shapes.
        for (path, wanted), found in zip(
            jax.tree_util.tree_leaves_with_path(shapes),
            jax.tree.leaves(state),
            strict=True,
        ):
            if found.shape != wanted.shape:
                raise UserError(
                    f"The checkpoint of epoch {epoch} in {self._folder} is another "
                    f"network's: {jax.tree_util.keystr(path)} is {found.shape}, not "
                    f"{wanted.shape}."
                )
        return state

    def __enter__(self):
        return self

    def __exit__(self, exception_type, *exception):
        if exception_type is None:
            with self._writing():
                self._manager.close()
        else:  # which must not be hidden by what follows from it
            with contextlib.suppress(Exception):
                self._manager.close()

    @contextlib.contextmanager
    def _writing(self):
        """Orbax's many exceptions of a failed write as one."""
        try:
            yield
        except Exception as error:
            raise UserError(
                f"A checkpoint cannot be written to {self._folder}: {error}"
            ) from error


def _rank(metrics: dict[str, float]) -> tuple[float, float]:
    return metrics["validation_accuracy"], -metrics["validation_loss"]
