"""The error of estimated apexes, on generated clips: ``python -m benchmarks.apex``.

The apex of each generated expression is known. It is estimated as ``--apex=middle`` and
``--apex=spotted`` do, from frames between onset and offset. Rows are added to
``benchmarks/results/apex.csv``.
"""

import numpy as np
import tensorflow_datasets as tfds
import tyro

from benchmarks import rows
from datasets import prepare
from meranet_jax.video import apex

# Frames of a clip, which are evenly spaced from onset to offset
FRAMES = 48

COLUMNS = ("dataset", "clips", "apex", "mean_error", "median_error", "mean_length")


def main(
    dataset: tuple[str, ...] = ("synthetic/hard", "synthetic/wild_small"),
    data_dir: str = "data",
    save: bool = True,
) -> None:
    """Measure the distance of estimated apexes from the true ones, in frames.

    Args:
      dataset: Generated data sets.
      data_dir: Folder of their records.
      save: Whether to write rows.
    """
    table = rows.Table("apex", COLUMNS, backend="cpu") if save else None
    options = prepare.Options(sampling="uniform", frames=FRAMES)
    for name in dataset:
        folder = prepare.prepare(name, data_dir=data_dir, options=options)
        errors = {"middle": [], "spotted": []}
        lengths = []
        for record in tfds.builder_from_directory(folder).as_data_source("train"):
            # Clips of wild without an expression have no apex.
            if record.get("amplitude", 1) == 0:
                continue
            last = int(record["offset"] - record["onset"])
            true = int(record["apex"] - record["onset"])
            index = apex.spot(record["clip"])
            # As in records, the middle replaces an apex that cannot be spotted.
            spotted = last // 2 if index is None else index * last / (FRAMES - 1)
            for way, found in (("middle", last // 2), ("spotted", spotted)):
                errors[way].append(abs(found - true))
            lengths.append(last + 1)
        for way, found in errors.items():
            mean, median, length = np.mean(found), np.median(found), np.mean(lengths)
            print(
                f"{name} --apex={way}: {mean:.1f} frames (median {median:.1f}) from "
                f"the apex, {len(found)} clips of {length:.0f} frames on average",
                flush=True,
            )
            if table:
                row = {"dataset": name, "clips": len(found), "apex": way}
                row |= {"mean_error": mean, "median_error": median}
                table.append(row | {"mean_length": length})


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
