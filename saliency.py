"""Where a trained network looks: ``python saliency.py --run=RUN``."""

import sys
from pathlib import Path

import tyro
from rich.console import Console

from meranet_jax.analysis import explainer, overlays
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures
from meranet_jax.runs import reader, report_text, verification
from meranet_jax.training import xla


def main(
    run: str,
    clip: str | None = None,
    layer: str | None = None,
    target: str | None = None,
    seed: int | None = None,
    number: int = 6,
    data_dir: str | None = None,
    out: str | None = None,
) -> None:
    """Draw Grad-CAM, SmoothGrad and the attention of a run's networks on test clips.

    Args:
      run: the run's folder.
      clip: a test clip by its id. Default: several, of each class in turn.
      layer: that Grad-CAM looks at: stem, block1_1 and so on. Default: the last block.
      target: the class that the maps are of. Default: what is predicted of each clip.
      seed: of a run with several, whose networks. Default: its first.
      number: how many clips, if none is named.
      data_dir: where the records are now, if they were moved.
      out: the folder for the pictures. Default: saliency in the run's.
    """
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if number < 1:
        raise UserError(f"--number={number} must be at least 1.")
    path = Path(run).expanduser()
    read = reader.read(path)
    verification.tested(read)  # says so if it is not finished
    xla.configure()
    opened = verification.reopen(read, data_dir)
    explain = explainer.Explainer(opened, layer=layer)
    if clip is None:
        chosen = explainer.test_clips(opened, seed, number)
    else:
        chosen = [explainer.find(opened, seed, clip)]
    shown = explain.show_all(chosen, target=target)
    folder = path / "saliency" if out is None else Path(out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    title = report_text.title(read).partition(" on ")[0]
    if clip is None:
        figures.save(overlays.overview({title: shown}), folder / "overview.png")
        console.print(f"{folder / 'overview.png'}: {len(shown)} clips at their apex")
    for one in shown:
        name = overlays.file_name(one)
        figures.save(overlays.strip(one), folder / f"{name}.png")
        overlays.save_animation(overlays.animation(one), folder / f"{name}.gif")
        right = "right" if one.predicted == one.truth else "wrong"
        console.print(
            f"{folder / name}.png, .gif: {one.truth}, predicted {one.predicted} "
            f"({one.probability:.2f}), {right}"
        )
    console.print(explainer.describe(shown, explain.layer))


if __name__ == "__main__":
    try:
        tyro.cli(main, description=__doc__.replace("``", ""), use_underscores=True)
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
