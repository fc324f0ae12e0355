"""Transfer of records to the device: ``python -m benchmarks.input``.

The same clips in the same order are streamed by this project's feed and by PyTorch's
DataLoader with worker processes. Then epochs of training are measured with streamed
clips and with all clips on the device. All are measured in turns. Rows are added to
``benchmarks/results/input.csv``.
"""

import time

import jax
import numpy as np
import tyro

from benchmarks import rows
from datasets.prepare import Options, prepare
from meranet_jax.config import Preset, TrainConfig, default_config
from meranet_jax.data import feed, loading
from meranet_jax.data.source_records import Source
from meranet_jax.training import trainers, xla

COLUMNS = ("preset", "what", "unit", "repetitions", "value", "value_least")
COLUMNS += ("value_most", "over_first", "over_first_least", "over_first_most")


def main(
    data_dir: str = "data",
    preset: Preset = "small",
    workers: int = 2,
    repetitions: int = 5,
    steps: int = 20,
    save: bool = True,
) -> None:
    """Measure the feeds.

    Args:
      data_dir: Folder of the records of the synthetic data set.
      preset: Network and clip size.
      workers: Number of processes of PyTorch's DataLoader.
      repetitions: Number of measurements of each, in turns.
      steps: Number of batches of an epoch.
      save: Whether to write rows.
    """
    xla.use_all_cores()
    config = default_config("synthetic", preset)
    options = Options(**config.record_options())
    folder = prepare("synthetic", manual_dir=None, data_dir=data_dir, options=options)
    on_device, recorded = (
        loading.load(
            [Source("synthetic", folder)],
            choose_classes=lambda emotions: {
                name: (name,) for name in sorted(emotions)
            },
            size=config.size,
            feed=feed_name,
        )
        for feed_name in ("device", "records")
    )
    rng = np.random.default_rng(0)
    order = rng.permuted(np.tile(np.arange(len(on_device)), 1 + steps))
    order = order[: steps * config.settings.batch_size].reshape(steps, -1)
    first_batch = on_device.clips[order[0]]
    if not np.array_equal(first_batch, [recorded.clips[i] for i in order[0]]):
        raise SystemExit("error: the clips are not the same")

    table = rows.Table("input", COLUMNS) if save else None
    clips_per_second = {
        "streamed": lambda: _feed(recorded, order),
        f"PyTorch's DataLoader, {workers} workers": lambda: _torch(
            recorded, order, workers
        ),
    }
    epochs = {
        feed_name: _epoch(config.change(feed=feed_name), clips, order)
        for feed_name, clips in (("device", on_device), ("records", recorded))
    }
    for ways, unit, amount in (
        (clips_per_second, "clips/s to the device", order.size),
        (epochs, "clips/s in training", order.size),
    ):
        seconds = {name: [] for name in ways}
        for _ in range(repetitions):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
        first = next(iter(seconds.values()))
        for name, took in seconds.items():
            speed = rows.Spread.of([amount / s for s in took])
            ratio = rows.Spread.of([f / s for f, s in zip(first, took, strict=True)])
            print(f"{unit}: {name}: {speed}; over {next(iter(ways))} {ratio}")
            if table:
                table.append(
                    {"preset": preset, "what": name, "unit": unit}
                    | {"repetitions": repetitions}
                    | speed.columns("value")
                    | ratio.columns("over_first")
                )


def _feed(clips: loading.Clips, order: np.ndarray) -> None:
    device = jax.local_devices()[0]
    mesh = jax.sharding.Mesh([device], ("batch",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    streamed = feed.Streamed(clips, sharding)
    for placed, _ in streamed.place([batch[None] for batch in order]):
        jax.block_until_ready(placed)


def _torch(clips: loading.Clips, order: np.ndarray, workers: int) -> None:
    import torch

    class Dataset(torch.utils.data.Dataset):
        def __len__(self):
            return len(clips)

        def __getitem__(self, index):
            return clips.clips[index], clips.labels[index]

    gpu = torch.cuda.is_available()
    loader = torch.utils.data.DataLoader(
        Dataset(), batch_sampler=order.tolist(), num_workers=workers, pin_memory=gpu
    )
    for clip, label in loader:
        if gpu:
            clip.cuda(non_blocking=True), label.cuda(non_blocking=True)
    if gpu:
        torch.cuda.synchronize()


def _epoch(config: TrainConfig, clips: loading.Clips, order: np.ndarray):
    """Returns a function that trains for an epoch, after compiling it."""
    trainer = trainers.make_trainer(config, clips, folds=1, epoch_steps=len(order))
    trainer.set_states([trainer.initial_state(0, 1_000_000)])

    def epoch():
        jax.block_until_ready(list(trainer.train([order])))

    epoch()
    return epoch


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
