"""Train a recogniser: ``python train.py --dataset=casme2 --manual_dir=DIR``."""

import sys
import traceback

from meranet_jax import program
from meranet_jax.errors import UserError, explain, explain_out_of_memory

with program.imports(__name__):
    from rich.console import Console

    from datasets.prepare import builder, records_of
    from meranet_jax import flags
    from meranet_jax.runs import origins
    from meranet_jax.runs.train_run import train_run
    from meranet_jax.training import distributed, signals


def main(arguments: list[str]) -> None:
    """Trains a recogniser; exits with a message if that is not possible."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    try:
        config = flags.parse(
            arguments,
            description=__doc__.replace("``", ""),
            check_dataset=builder,
            find_weights=origins.find,
        )
        train_run(config, records_of, console)
    except (UserError, OSError) as error:
        distributed.fail(f"error: {explain(error)}")
    except signals.Interrupted as interrupted:
        distributed.fail(
            f"interrupted ({interrupted}); {interrupted.kept}. The same command, "
            "without --overwrite, continues",
            interrupted.status,
            orderly=True,
        )
    except Exception as error:
        advice = "Choose a smaller --batch_size, or --accumulate, --remat or "
        message = explain_out_of_memory(error, advice + "--feed=records.")
        if message is not None:
            distributed.fail(f"error: {message}")
        distributed.fail_unexpectedly(traceback.format_exc())


if __name__ == "__main__":
    signals.install_handlers()
    main(sys.argv[1:])
