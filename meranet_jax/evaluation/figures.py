"""The figures of a run, drawn from its numbers, and how they are written.

Every function but ``save`` is pure: numbers in, a figure out. The colours are Okabe
and Ito's, for colour-blind readers; a marker or a line style says the same.
"""

import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from meranet_jax import files
from meranet_jax.evaluation import metrics
from meranet_jax.evaluation.predictions import Predictions

_BLUE, _VERMILION, _ORANGE, _GREY = "#0072B2", "#D55E00", "#E69F00", "0.45"
# A little beyond a share's 0 and 1, so that a marker there is whole.
_SHARE = (-0.03, 1.03)
# Inches for a letter of a name and of a title, wide ones; room is made by them.
_LETTER, _TITLE_LETTER = 0.085, 0.105


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and as SVG, each whole or not at all.

    The same figure gives the same SVG, byte by byte, and its text can be searched. Its
    layout is settled by the first call.

    Args:
      figure: what to write.
      path: where; its suffix gives way to ``.png`` and ``.svg``.
    """
    # Constrained layout starts from where it left things, so each draw would move them.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    # Without a salt, the ids in an SVG are random.
    settings = {"svg.hashsalt": "meranet_jax", "svg.fonttype": "none"}
    kinds = {"png": {"dpi": 150}, "svg": {"metadata": {"Date": None}}}
    for kind, options in kinds.items():
        with (
            files.atomic_write(path.with_suffix(f".{kind}")) as part,
            matplotlib.rc_context(settings),
        ):
            figure.savefig(part, format=kind, **options)


def curves(lines: dict[str, list[dict]]) -> Figure:
    """Loss and accuracy over epochs, of the training and the validation part.

    Args:
      lines: fold -> its lines of metrics, an epoch each. Folds may have different
        numbers of them, or none yet; the mean is of those that have begun, over the
        epochs that all of these have.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    folds = [{line["epoch"]: line for line in fold} for fold in lines.values() if fold]
    common = sorted(set.intersection(*map(set, folds))) if folds else []
    several = len(folds) > 1
    styles = {"train": (_BLUE, "o-"), "validation": (_VERMILION, "s--")}
    thin = {"linewidth": 0.7, "markersize": 2, "alpha": 0.25, "zorder": 1.5}
    whole = {"linewidth": 1.5, "markersize": 4}
    if several:
        # Marks at every epoch would hide the folds, and the dashes.
        whole = {"linewidth": 2.5, "markersize": 6, "markeredgecolor": "white"}
        whole["markevery"] = 1 + len(common) // 10
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, (colour, style) in styles.items():
            key = f"{part}_{name}"
            for fold in folds if several else ():
                values = [line[key] for line in fold.values()]
                # The mark at its end shows how far a fold is, were it but one epoch.
                mark = {"marker": style[0], "markevery": [-1], "color": colour}
                axes.plot(list(fold), values, **mark, **thin)
            means = [np.mean([fold[epoch][key] for fold in folds]) for epoch in common]
            label = f"{part}, mean of {len(folds)} folds" if several else part
            axes.plot(common, means, style, color=colour, label=label, **whole)
        axes.set(xlabel="epoch", ylabel="cross entropy" if name == "loss" else name)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if name == "accuracy":
            axes.set_ylim(_SHARE)
        if not folds:
            axes.set(xticks=[], yticks=[], title="no epoch yet")
    if several:
        axes.plot([], [], color=_GREY, linewidth=0.7, label="a fold")
    _legend(figure, axes)
    return figure


def losses(found: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Validation loss over epochs, mean and standard deviation over seeds.

    Args:
      found: for each data set, for each variant [seeds, epochs].
    """
    figure = Figure(figsize=(5 * len(found) + 0.5, 4.2), layout="constrained")
    styles = ((_BLUE, "o-"), (_VERMILION, "s--"), (_ORANGE, "^:"))
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (dataset, variants) in zip(panels, found.items(), strict=True):
        for (label, values), (colour, style) in zip(
            variants.items(), styles, strict=False
        ):
            epochs = np.arange(1, values.shape[1] + 1)
            mean, spread = values.mean(0), values.std(0, ddof=min(1, len(values) - 1))
            band = {"color": colour, "alpha": 0.2, "linewidth": 0}
            axes.fill_between(epochs, mean - spread, mean + spread, **band)
            mark = {"markersize": 4, "markevery": 1 + len(epochs) // 15}
            axes.plot(epochs, mean, style, color=colour, label=label, **mark)
        seeds = len(next(iter(variants.values())))
        axes.set(xlabel="epoch", ylabel="validation loss (cross entropy)")
        axes.set_title(f"{dataset}, {seeds} seed{'s' if seeds > 1 else ''}")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    _legend(figure, axes)
    return figure


def accuracies(rows: list[dict]) -> Figure:
    """The accuracy of networks with its interval, beside the paper's.

    Args:
      rows: of ``paper.table1``.
    """
    names = [f"{row['dataset']}, {row['protocol']}\n{row['network']}" for row in rows]
    figure = Figure(figsize=(7.5, 1.4 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    line = {"color": _BLUE, "linewidth": 1.2}
    paper = {"color": _VERMILION, "fillstyle": "none", "linestyle": "none"}
    for place, row in enumerate(rows):
        if row["accuracy_low"] is not None:
            bounds = [row["accuracy_low"], row["accuracy_high"]]
            axes.plot(bounds, [place, place], "|-", **line)
        axes.plot(row["accuracy"], place, "o", **line)
        if row["paper_accuracy"] is not None:
            axes.plot(
                row["paper_accuracy"], place, "D", color=_VERMILION, fillstyle="none"
            )
    axes.plot([], [], "o-", **line, label="ours, 95 % interval")
    if any(row["paper_accuracy"] is not None for row in rows):
        axes.plot([], [], "D", **paper, label="the paper's")
    axes.set_yticks(range(len(rows)), names, fontsize="small")
    axes.set(xlim=_SHARE, ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy")
    axes.grid(alpha=0.3)
    _legend(figure, axes)
    return figure


def parameters(rows: list[dict]) -> Figure:
    """The parameters of each block, without attention and what that adds.

    Args:
      rows: of ``complexity.parameters``, without the sum.
    """
    figure = Figure(figsize=(7, 1.4 + 0.3 * len(rows)), layout="constrained")
    axes, places = figure.subplots(), np.arange(len(rows))
    plain = [row["3D ResNet"] for row in rows]
    added = [row["attention"] or np.nan for row in rows]
    axes.barh(places - 0.2, plain, 0.38, color=_BLUE, label="3D ResNet")
    hatch = {"color": (_ORANGE, 0.5), "edgecolor": _ORANGE, "hatch": "///"}
    axes.barh(places + 0.2, added, 0.38, label="what attention adds", **hatch)
    axes.set_yticks(places, [row["block"] for row in rows])
    axes.set(xscale="log", xlabel="parameters", ylim=(len(rows) - 0.5, -0.5))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    _legend(figure, axes)
    return figure


def confusion(confusion: np.ndarray, classes: tuple[str, ...], title: str) -> Figure:
    """Counts in the cells, shares of the row as their shade.

    Args:
      confusion: int [C, C], rows are the truth.
      classes: C names.
      title: what was counted.
    """
    clips = confusion.sum(1, keepdims=True)  # [C, 1]
    shares = np.where(clips, confusion / np.maximum(clips, 1), np.nan)  # [C, C]
    cells, names = 0.9 * len(classes), _LETTER * max(map(len, classes))
    # Names stand level at the left and slanted by 30 degrees below.
    size = (cells + names + 2, cells + 0.5 * names + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="0.93")
    image = axes.imshow(shares, cmap=colours, vmin=0, vmax=1)
    centred = {"ha": "center", "va": "center"}
    for (row, column), share in np.ndenumerate(shares):
        if clips[row]:
            text = f"{confusion[row, column]}\n{share:.0%}"
            shade = "white" if share > 0.7 else "black"  # what differs more from it
            axes.text(column, row, text, color=shade, **centred)
    for row in np.flatnonzero(clips == 0):
        axes.text((len(classes) - 1) / 2, row, "no clips", style="italic", **centred)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, classes)
    axes.set(xlabel="prediction", ylabel="truth")
    figure.suptitle(textwrap.fill(title, int(size[0] / _TITLE_LETTER)))
    figure.colorbar(image, label="share of the row", shrink=0.8)
    return figure


def subjects(predictions: Predictions) -> Figure:
    """The accuracy of each subject, and of how many clips.

    Args:
      predictions: N. A clip that several seeds predict counts once for each, and then
        there is no interval: those predictions are not independent.
    """
    names, subject = np.unique(predictions.subjects, return_inverse=True)  # [S], [N]
    clips = np.bincount(subject)  # [S]
    right = np.bincount(subject[predictions.right], minlength=len(names))  # [S]
    rows, one_seed = range(len(names)), len(set(predictions.seeds)) == 1
    figure = Figure(figsize=(7.5, 1.9 + 0.2 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row in rows if one_seed else ():
        interval = metrics.wilson_interval(int(right[row]), int(clips[row]))
        axes.plot(interval, [row, row], color=_BLUE, linewidth=1)
    point = {"color": _BLUE, "linewidth": 1, "markersize": 5}
    axes.plot(right / clips, rows, "o", **point)
    label = "a subject, 95 % interval" if one_seed else "a subject, all seeds"
    axes.plot([], [], "o-" if one_seed else "o", label=label, **point)
    overall = predictions.right.mean()
    chance = np.bincount(predictions.truth).max() / len(predictions)
    line = {"color": _VERMILION, "linestyle": "--", "zorder": 1}
    axes.axvline(overall, **line, label=f"all clips, {overall:.3f}")
    line = {"color": _GREY, "linestyle": ":", "linewidth": 2, "zorder": 1}
    axes.axvline(chance, **line, label=f"always the commonest class, {chance:.3f}")
    axes.set_yticks(rows, names)
    axes.set(xlim=_SHARE, ylim=(len(names) - 0.4, -0.6), ylabel="subject")
    axes.set_xlabel("accuracy (share of clips that are right)")
    axes.grid(alpha=0.3)
    beside = axes.twinx()
    counts = [f"{k} of {n}" for k, n in zip(right, clips, strict=True)]
    beside.set_yticks(rows, counts)
    beside.set(ylim=axes.get_ylim(), ylabel="clips right")
    beside.tick_params(length=0)
    _legend(figure, axes)
    return figure


def spread(report: dict) -> Figure:
    """How far the numbers differ from seed to seed and from fold to fold.

    Args:
      report: its ``metrics``, ``seeds`` and ``by_fold`` are drawn. With one fold there
        is nothing to compare, and its panel is left out.
    """
    seeds, points = report["seeds"], report["by_fold"]
    folds = list(dict.fromkeys(point["fold"] for point in points))
    several, named = len(seeds) > 1, len(folds) <= 30
    wide = max(3.0, (0.2 + 0.02 * len(seeds)) * len(folds)) if named else 9.0
    widths = (4.2, wide)[: len(folds)]
    figure = Figure(figsize=(sum(widths) + 1, 4.6), layout="constrained")
    ratios = {"width_ratios": widths, "squeeze": False, "sharey": True}
    (panels,) = figure.subplots(1, len(widths), **ratios)
    # Seeds stand side by side in their order: equal accuracies would hide each other.
    beside = np.linspace(-0.3, 0.3, len(seeds)) if several else np.zeros(1)
    hollow = {"marker": "o", "markersize": 3.5, "markerfacecolor": "none"}
    hollow |= {"color": _BLUE, "linestyle": "none"}

    axes, names = panels[0], {"accuracy": "accuracy", "uf1": "UF1", "uar": "UAR"}
    for x, name in enumerate(names):
        score = report["metrics"][name]
        at = x + 0.1 if several else x
        if several:
            axes.plot(x - 0.2 + 0.4 * beside, score["values"], **hollow)
        # Not errorbar: an end of a bootstrap may lie on the mean's other side.
        if score["interval"]:
            axes.plot([at, at], score["interval"], "_-", color=_VERMILION, markersize=8)
        axes.plot(at, score["mean"], "D", color=_VERMILION)
        offset = {"xytext": (7, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{score['mean']:.3f}", (at, score["mean"]), **offset)
    bounded = any(report["metrics"][name]["interval"] for name in names)
    label = f"mean of {len(seeds)} seeds" if several else "all clips"
    label += ", 95 % interval" if bounded else ""
    axes.plot([], [], "D-" if bounded else "D", color=_VERMILION, label=label)
    if several or len(folds) > 1:
        axes.plot([], [], **hollow, label="a seed" if several else "a fold")
    axes.set_xticks(range(len(names)), names.values())
    axes.set(xlim=(-0.5, 2.7), ylim=_SHARE, ylabel="share", title="all clips")
    _legend(figure, axes)

    if len(folds) > 1:
        axes, bounded = panels[1], len(points) <= 40
        for point in points:
            x = folds.index(point["fold"]) + beside[seeds.index(point["seed"])]
            if bounded:
                axes.plot([x, x], point["accuracy_interval"], color=_BLUE, linewidth=1)
            axes.plot(x, point["correct"] / point["clips"], **hollow)
        if named:
            axes.set_xticks(range(len(folds)), folds, rotation=90)
        if named and several:  # a line between folds shows which points are of one
            axes.set_xticks(np.arange(len(folds) - 1) + 0.5, minor=True)
            axes.tick_params(axis="x", which="minor", length=0)
            axes.grid(axis="x", which="minor", alpha=0.5)
        label = "fold" if named else "fold, in order from 0"
        axes.set(xlim=(-0.6, len(folds) - 0.4), xlabel=label, ylabel="accuracy")
        intervals = ", 95 % intervals" if bounded else ""
        axes.set_title(f"each of {len(folds)} folds{intervals}")
    for axes in panels:
        axes.grid(axis="y", alpha=0.3)
    return figure


def reliability(calibration: dict) -> Figure:
    """How often a prediction is right over how sure it was, and how many there are.

    Args:
      calibration: what ``metrics.calibration`` returns.
    """
    figure = Figure(figsize=(5.4, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    keys = ("confidence", "accuracy", "clips")
    bins = np.array([[row[key] for key in keys] for row in calibration["bins"]])
    confidence, accuracy, clips = bins.T  # each [bins]
    above.plot([0, 1], [0, 1], "--", color=_GREY, label="confidence = accuracy")
    # Bars stand at a bin's mean confidence, where its gap is measured.
    gap = {"color": (_ORANGE, 0.4), "edgecolor": _ORANGE, "hatch": "///"}
    above.bar(confidence, accuracy - confidence, 0.03, confidence, label="gap", **gap)
    above.plot(confidence, accuracy, "o", color=_BLUE, label="a bin of clips")
    above.set(xlim=_SHARE, ylim=_SHARE, ylabel="accuracy")
    title = f"expected calibration error (ECE) {calibration['ece']:.3f}"
    above.set_title(f"{title}, clips: {clips.sum():.0f}", fontsize="medium")
    below.bar(confidence, clips, 0.03, color=_BLUE)
    below.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    below.set(xlabel="confidence (probability of the prediction)", ylabel="clips")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    _legend(figure, above)
    return figure


def _legend(figure: Figure, axes: Axes) -> None:
    """The legend of ``axes`` below all, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
