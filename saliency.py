"""Draw saliency maps of a trained network: ``python saliency.py --run=RUN``."""

from pathlib import Path

from meranet_jax import program
from meranet_jax.errors import UserError

with program.imports(__name__):
    import tyro
    from rich.console import Console

    from meranet_jax.analysis import explainer, overlays, saliency_checks
    from meranet_jax.evaluation import figures
    from meranet_jax.runs import reader, run_text, verification
    from meranet_jax.training import signals, xla


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
      run: Run folder.
      clip: Id of a test clip. Default: several clips, of each class in turn.
      layer: Layer that Grad-CAM explains; a wrong name lists the layers. Default: the
        last one.
      target: Class that the maps explain. Default: the predicted class of each clip.
      seed: Seed of the networks, for a run with several seeds. Default: the first.
      number: Number of clips without --clip.
      data_dir: Folder of the records, if they were moved.
      out: Folder for the figures. Default: saliency in the run folder.
    """
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if number < 1:
        raise UserError(f"--number={number} must be at least 1.")
    path = Path(run).expanduser()
    finished = reader.read(path)
    explainer.check_network(finished)
    verification.read_predictions(finished)  # raises if the run is not finished
    xla.configure()
    opened = verification.open_run(finished, data_dir)
    explain = explainer.Explainer(opened, layer=layer)
    if clip is None:
        chosen = explainer.test_clips(opened, seed, number)
    else:
        chosen = [explainer.find_test_clip(opened, seed, clip)]
    explained = explain.explain_all(chosen, target=target)
    folder = finished.layout.saliency if out is None else Path(out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    title = run_text.title(finished).partition(" on ")[0]
    if clip is None:
        figures.save(overlays.overview({title: explained}), folder / "overview.png")
        console.print(
            f"{folder / 'overview.png'}: apex frames of {len(explained)} clips"
        )
    for one in explained:
        name = overlays.file_name(one)
        figures.save(overlays.strip(one), folder / f"{name}.png")
        overlays.save_animation(overlays.animation(one), folder / f"{name}.gif")
        result = "correct" if one.predicted == one.truth else "incorrect"
        console.print(
            f"{folder / name}.png, .gif: {one.truth}, predicted {one.predicted} "
            f"({one.probability:.2f}), {result}"
        )
    console.print(saliency_checks.describe(explained, explain.layer))


if __name__ == "__main__":
    signals.install_handlers()
    with program.run():
        tyro.cli(
            main,
            description=__doc__.replace("``", ""),
            use_underscores=True,
            config=(tyro.conf.DisallowNone,),  # --help would offer None as a value
        )
