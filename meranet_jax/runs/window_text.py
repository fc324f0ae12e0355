"""The time that the window around the apex covers in each data set, as text."""

from collections.abc import Mapping

from meranet_jax.config import TrainConfig

_NOTE = (
    "note: windows cover different times; --rate=HZ with --window=FRAMES resamples all "
    "recordings to one frame rate"
)


def describe(config: TrainConfig, data: Mapping) -> str | None:
    """Describes the window of each data set in frames and milliseconds.

    Args:
      config: its data sets, ``window`` and ``rate``.
      data: ``frame_rates`` as in ``Clips``; older versions did not save it.

    Returns:
      Such as ``32 frames at 200 Hz, 160 ms``; None if there is no window or no frame
      rate is known.
    """
    recorded = data.get("frame_rates", {})
    if config.sampling != "apex" or not any(recorded.values()):
        return None
    parts = []
    for dataset, frames, rates in _windows(config, recorded):
        text = f"{frames} frames, frame rate unknown"
        if rates:
            times = sorted(1000 * frames / rate for rate in rates)
            text = f"{frames} frames at {_range(rates)} Hz, {_range(times, '.0f')} ms"
        if config.rate is not None and rates:
            text += f" (recorded at {_range(recorded[dataset])} Hz)"
        parts.append(f"{dataset} {text}" if len(recorded) > 1 else text)
    return "; ".join(parts)


def lines(config: TrainConfig, data: Mapping) -> list[str]:
    """Returns the lines of a plan or a report on the window; see ``describe``.

    The second line is a note if the windows of several data sets cover different times.
    """
    if (text := describe(config, data)) is None:
        return []
    times = {
        (frames / rates[0], frames / rates[-1]) if rates else None
        for _, frames, rates in _windows(config, data["frame_rates"])
    }
    return [f"window around the apex: {text}", *([_NOTE] if len(times) > 1 else [])]


def _windows(
    config: TrainConfig, recorded: Mapping[str, list[float]]
) -> list[tuple[str, int, list[float]]]:
    """Returns name, frames of the window and frame rates, in Hz, of each data set."""
    windows = []
    for one in config.each_dataset():
        name = one.dataset.partition("/")[0]
        rates = recorded.get(name, [])
        if rates and config.rate is not None:
            rates = [config.rate]
        windows.append((name, one.window, rates))
    return windows


def _range(numbers: list[float], form: str = "g") -> str:
    """Formats the least and the greatest of ascending numbers, or the only one."""
    return " to ".join(
        dict.fromkeys(format(number, form) for number in (numbers[0], numbers[-1]))
    )
