"""Reproduce the paper: ``python reproduce.py table1 --dataset=casme2``.

The experiments of the paper are table1, figure4, figure5, figure6 and parameters.
inputs compares recognisers and inputs, ablation replaces each choice of a preset, and
learning_curve reduces the training part. Flags of train.py, such as --preset=small,
--seeds=5 and --epochs=10, apply to all runs of the experiment.

``python reproduce.py spotting`` measures the search for expressions in long recordings
of known content; python reproduce.py spotting --help lists its flags.
"""

import sys

from meranet_jax import program

with program.imports(__name__):
    from rich.console import Console

    from datasets import spotting_recordings
    from datasets.prepare import builder, records_of
    from meranet_jax.analysis import reproduction
    from meranet_jax.prediction import spotting_experiment
    from meranet_jax.training import signals

if __name__ == "__main__":
    signals.install_handlers()
    console = Console(markup=False, highlight=False, soft_wrap=True)
    with program.run("the same command resumes"):
        if sys.argv[1:2] == ["spotting"]:
            spotting_experiment.main(
                sys.argv[2:],
                console,
                generated=spotting_recordings.generated,
                licensed=spotting_recordings.licensed,
                description="Measure spotting on long recordings of known content.",
            )
        else:
            reproduction.main(
                sys.argv[1:],
                records_of,
                console,
                description=__doc__.replace("``", ""),
                check_dataset=builder,
            )
