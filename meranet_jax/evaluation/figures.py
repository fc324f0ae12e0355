"""Figures of a run and of the paper's experiments, as PNG and SVG.

Every function except ``save`` is pure: it takes numbers and returns a figure. The
colours are from the colour-blind safe palette of Okabe and Ito (2008); markers and line
styles repeat what colours say.
"""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from meranet_jax import files
from meranet_jax.evaluation import metrics
from meranet_jax.evaluation.predictions import Predictions

_BLUE, _VERMILION, _ORANGE, _GREY = "#0072B2", "#D55E00", "#E69F00", "0.45"
# Axis limits of fractions, with space for markers at 0 and 1.
_UNIT_LIMITS = (-0.03, 1.03)
# Widths in inches of a wide letter in tick labels and in titles, to estimate the size
# of text before it is drawn.
_LETTER, _TITLE_LETTER = 0.085, 0.105
# Keyword arguments of a matplotlib function
_Style = dict[str, Any]


def save(figure: Figure, path: Path, *, vector: bool = True) -> None:
    """Writes a figure as PNG and as SVG, each atomically.

    Equal figures give equal SVG files, byte by byte. Text in them stays searchable.
    Writing an SVG fixes the layout of the figure.

    Args:
      figure: the figure to write.
      path: the file to write; its suffix is replaced by ``.png`` and ``.svg``.
      vector: whether the SVG is written, too.
    """
    if vector:
        # Constrained layout starts from the previous one, so each draw would change it.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    # Without a salt, the ids in an SVG file are random.
    settings: dict[Any, str] = {"svg.hashsalt": "meranet_jax", "svg.fonttype": "none"}
    formats: dict[str, _Style] = {
        "png": {"dpi": 150},
        "svg": {"metadata": {"Date": None}},
    }
    if not vector:
        del formats["svg"]
    for suffix, options in formats.items():
        with (
            files.atomic_write(path.with_suffix(f".{suffix}")) as part,
            matplotlib.rc_context(settings),
        ):
            figure.savefig(part, format=suffix, **options)


def learning_curves(lines: dict[str, list[dict]]) -> Figure:
    """Plots loss and accuracy of the training and validation parts over epochs.

    With several folds, thin lines show the folds and thick lines their mean. The mean
    is over the folds with at least one epoch, and for the epochs that all of them have.

    Args:
      lines: for each fold, the metrics of its epochs as in ``metrics.jsonl``. Folds may
        have different numbers of epochs.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    folds = [{line["epoch"]: line for line in fold} for fold in lines.values() if fold]
    common = sorted(set.intersection(*map(set, folds))) if folds else []
    several = len(folds) > 1
    styles = {"train": (_BLUE, "o-"), "validation": (_VERMILION, "s--")}
    thin: _Style = {"linewidth": 0.7, "markersize": 2, "alpha": 0.25, "zorder": 1.5}
    thick: _Style = {"linewidth": 1.5, "markersize": 4}
    if several:
        # Markers at every epoch would hide the folds and the dashes.
        thick = {"linewidth": 2.5, "markersize": 6, "markeredgecolor": "white"}
        thick["markevery"] = 1 + len(common) // 10
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, (colour, style) in styles.items():
            key = f"{part}_{name}"
            for fold in folds if several else ():
                values = [line[key] for line in fold.values()]
                # A marker at the last epoch shows the progress of a fold, and makes a
                # fold with a single epoch visible.
                mark: _Style = {"marker": style[0], "markevery": [-1], "color": colour}
                axes.plot(list(fold), values, **mark, **thin)
            means = [np.mean([fold[epoch][key] for fold in folds]) for epoch in common]
            label = f"{part}, mean of {len(folds)} folds" if several else part
            axes.plot(common, means, style, color=colour, label=label, **thick)
        axes.set(xlabel="epoch", ylabel="cross-entropy" if name == "loss" else name)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if name == "accuracy":
            axes.set_ylim(_UNIT_LIMITS)
        if not folds:
            axes.set(xticks=[], yticks=[], title="no epochs yet")
    if several:
        axes.plot([], [], color=_GREY, linewidth=0.7, label="one fold")
    _legend(figure, axes)
    return figure


def validation_losses(found: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Plots the validation loss of model variants over epochs, one panel a data set.

    Lines are means and bands are standard deviations over seeds.

    Args:
      found: for each data set and variant, the losses, float [seeds, epochs].
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
            band: _Style = {"color": colour, "alpha": 0.2, "linewidth": 0}
            axes.fill_between(epochs, mean - spread, mean + spread, **band)
            mark: _Style = {"markersize": 4, "markevery": 1 + len(epochs) // 15}
            axes.plot(epochs, mean, style, color=colour, label=label, **mark)
        seeds = len(next(iter(variants.values())))
        axes.set(xlabel="epoch", ylabel="validation loss (cross-entropy)")
        axes.set_title(f"{dataset}, {seeds} seed{'s' if seeds > 1 else ''}")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    _legend(figure, axes)
    return figure


def systems(rows: list[dict]) -> Figure:
    """Plots UF1 and accuracy of systems with intervals, and published accuracies.

    A line in each panel is what always choosing the commonest class gives.

    Args:
      rows: the rows of ``table1.make``.
    """
    keys = list(dict.fromkeys((row["dataset"], row["protocol"]) for row in rows))
    groups = [
        [row for row in rows if (row["dataset"], row["protocol"]) == key]
        for key in keys
    ]
    heights = [0.9 + 0.3 * len(shown) for shown in groups]
    longest = max(len(row["system"]) for row in rows)
    figure = Figure(
        figsize=(_LETTER * longest + 7, 0.6 + sum(heights)), layout="constrained"
    )
    panels = figure.subplots(
        len(keys), 2, squeeze=False, sharey="row", height_ratios=heights
    )
    commonest: _Style = {"color": _GREY, "linestyle": "--", "zorder": 1}
    for key, shown, pair in zip(keys, groups, panels, strict=True):
        for axes, name, label in zip(
            pair, ("uf1", "accuracy"), ("UF1", "accuracy"), strict=True
        ):
            for place, row in enumerate(shown):
                if row[f"{name}_low"] is not None:
                    bounds = [row[f"{name}_low"], row[f"{name}_high"]]
                    axes.plot(bounds, [place, place], "|-", c=_BLUE, linewidth=1.2)
                axes.plot(row[name], place, "o", c=_BLUE)
                if name == "accuracy" and row["published_accuracy"] is not None:
                    at = row["published_accuracy"]
                    axes.plot(at, place, "D", color=_VERMILION, fillstyle="none")
            axes.axvline(shown[0][f"commonest_{name}"], **commonest)
            axes.set(xlabel=label, title=", ".join(key), xlim=_UNIT_LIMITS)
            axes.grid(alpha=0.3)
        pair[0].set_yticks(range(len(shown)), [row["system"] for row in shown])
        pair[0].set_ylim(len(shown) - 0.5, -0.5)
    axes = panels[0, 1]
    axes.plot([], [], "o-", c=_BLUE, label="this program, 95 % interval")
    axes.plot([], [], label="always the commonest class", **commonest)
    if any(row["published_accuracy"] is not None for row in rows):
        axes.plot(
            [],
            [],
            "D",
            color=_VERMILION,
            fillstyle="none",
            label="published: other clips, classes and protocols",
        )
    _legend(figure, axes, columns=2)
    return figure


def variants(rows: list[dict]) -> Figure:
    """Plots UF1 of the variants of a recipe with its interval over subjects.

    Args:
      rows: the rows of ``variants.compare``, in order.
    """
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    longest = max(len(row["variant"]) for row in rows)
    most = max(sum(row["dataset"] == name for row in rows) for name in datasets)
    figure = Figure(
        figsize=(_LETTER * longest + 4 * len(datasets), 1.2 + 0.32 * most),
        layout="constrained",
    )
    panels = figure.subplots(1, len(datasets), squeeze=False, sharey=False)[0]
    for axes, name in zip(panels, datasets, strict=True):
        shown = [row for row in rows if row["dataset"] == name]
        for place, row in enumerate(shown):
            colour = _BLUE if row["reference"] else _VERMILION
            if row["uf1_low"] is not None:
                axes.plot([row["uf1_low"], row["uf1_high"]], [place, place], c=colour)
            axes.plot(row["uf1"], place, "o", c=colour)
        axes.axvline(shown[0]["uf1"], color=_GREY, linestyle=":", linewidth=1)
        axes.set_yticks(range(len(shown)), [row["variant"] for row in shown])
        axes.invert_yaxis()
        axes.set(xlabel="UF1", title=name, xlim=_UNIT_LIMITS)
        axes.grid(axis="x", alpha=0.3)
    return figure


def small_data(rows: list[dict]) -> Figure:
    """Plots UF1 over the number of training subjects, and of training clips of each.

    Args:
      rows: the rows of ``variants.compare`` for learning curves.
    """
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    names = {
        "train_subjects": "training subjects",
        "train_clips": "training clips of each subject",
    }
    figure = Figure(figsize=(9, 3.6 * len(datasets)), layout="constrained")
    panels = figure.subplots(len(datasets), len(names), squeeze=False, sharey=True)
    starts = list(dict.fromkeys(row["start"] for row in rows))
    styles = dict(
        zip(starts, [(_VERMILION, "o-"), (_BLUE, "s--")] * len(starts), strict=False)
    )
    for line, dataset in zip(panels, datasets, strict=True):
        for axes, (flag, label) in zip(line, names.items(), strict=True):
            of_flag = [
                row for row in rows if row["dataset"] == dataset and row.get(flag)
            ]
            for shift, start in enumerate(starts):
                shown = [row for row in of_flag if row["start"] == start]
                shown.sort(key=lambda row: row[flag])
                colour, style = styles[start]
                # Moved apart, so that intervals do not hide one another
                x = [row[flag] * (1 + 0.03 * shift) for row in shown]
                axes.plot(
                    x, [row["uf1"] for row in shown], style, c=colour, label=start
                )
                for at, row in zip(x, shown, strict=True):
                    if row["uf1_low"] is not None:
                        axes.plot([at, at], [row["uf1_low"], row["uf1_high"]], c=colour)
            axes.set_xscale("log", base=2)
            ticks = sorted({row[flag] for row in of_flag})
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
            axes.set(xlabel=label, ylim=_UNIT_LIMITS, title=dataset)
            axes.grid(alpha=0.3)
        line[0].set_ylabel("UF1")
        line[0].legend(frameon=False)
    return figure


def parameter_counts(rows: list[dict]) -> Figure:
    """Plots the number of parameters of each block, and how many attention adds.

    Args:
      rows: the rows of ``complexity.parameters`` without the last one, the total.
    """
    figure = Figure(figsize=(7, 1.4 + 0.3 * len(rows)), layout="constrained")
    axes, y = figure.subplots(), np.arange(len(rows))
    plain = [row["3D ResNet"] for row in rows]
    added = [row["attention"] or np.nan for row in rows]
    axes.barh(y - 0.2, plain, 0.38, color=_BLUE, label="3D ResNet")
    hatch: _Style = {"color": (_ORANGE, 0.5), "edgecolor": _ORANGE, "hatch": "///"}
    axes.barh(y + 0.2, added, 0.38, label="added by attention", **hatch)
    axes.set_yticks(y, [row["block"] for row in rows])
    axes.set(xscale="log", xlabel="parameters", ylim=(len(rows) - 0.5, -0.5))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    _legend(figure, axes)
    return figure


def confusion_matrix(
    confusion: np.ndarray, classes: tuple[str, ...], title: str
) -> Figure:
    """Plots a confusion matrix with counts and their fractions of the row.

    Args:
      confusion: int [C, C], rows are true classes.
      classes: the C class names.
      title: the title of the figure.
    """
    clips = confusion.sum(1, keepdims=True)  # [C, 1]
    fractions = np.where(clips, confusion / np.maximum(clips, 1), np.nan)  # [C, C]
    cells, names = 0.9 * len(classes), _LETTER * max(map(len, classes))
    # Names are horizontal on the left and rotated by 30 degrees below.
    size = (cells + names + 2, cells + 0.5 * names + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="0.93")
    image = axes.imshow(fractions, cmap=colours, vmin=0, vmax=1)
    centred: _Style = {"ha": "center", "va": "center"}
    for (row, column), fraction in np.ndenumerate(fractions):
        if clips[row]:
            text = f"{confusion[row, column]}\n{fraction:.0%}"
            colour = "white" if fraction > 0.7 else "black"  # for contrast
            axes.text(column, row, text, color=colour, **centred)
    for row in map(int, np.flatnonzero(clips == 0)):
        axes.text((len(classes) - 1) / 2, row, "no clips", style="italic", **centred)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, classes)
    axes.set(xlabel="predicted class", ylabel="true class")
    figure.suptitle(textwrap.fill(title, int(size[0] / _TITLE_LETTER)))
    figure.colorbar(image, label="fraction of the row", shrink=0.8)
    return figure


def accuracy_by_subject(predictions: Predictions) -> Figure:
    """Plots the accuracy of each subject with its number of clips.

    Args:
      predictions: N predictions. With one seed, each subject has a Wilson score
        interval. With several seeds a clip counts once for each, so predictions are not
        independent and there are no intervals.
    """
    names, subject = np.unique(predictions.subjects, return_inverse=True)  # [S], [N]
    clips = np.bincount(subject)  # [S]
    correct = np.bincount(subject[predictions.correct], minlength=len(names))  # [S]
    rows, one_seed = range(len(names)), len(set(predictions.seeds)) == 1
    figure = Figure(figsize=(7.5, 1.9 + 0.2 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row in rows if one_seed else ():
        interval = metrics.wilson_interval(int(correct[row]), int(clips[row]))
        axes.plot(interval, [row, row], color=_BLUE, linewidth=1)
    point: _Style = {"color": _BLUE, "linewidth": 1, "markersize": 5}
    axes.plot(correct / clips, rows, "o", **point)
    label = "subject, 95 % interval" if one_seed else "subject, all seeds"
    axes.plot([], [], "o-" if one_seed else "o", label=label, **point)
    overall = predictions.correct.mean()
    majority = np.bincount(predictions.truth).max() / len(predictions)
    line: _Style = {"color": _VERMILION, "linestyle": "--", "zorder": 1}
    axes.axvline(overall, **line, label=f"all clips, {overall:.3f}")
    line = {"color": _GREY, "linestyle": ":", "linewidth": 2, "zorder": 1}
    axes.axvline(majority, **line, label=f"majority class, {majority:.3f}")
    axes.set_yticks(rows, names)
    axes.set(xlim=_UNIT_LIMITS, ylim=(len(names) - 0.4, -0.6), ylabel="subject")
    axes.set_xlabel("accuracy (fraction of correct clips)")
    axes.grid(alpha=0.3)
    right_axis = axes.twinx()
    counts = [f"{k} of {n}" for k, n in zip(correct, clips, strict=True)]
    right_axis.set_yticks(rows, counts)
    right_axis.set(ylim=axes.get_ylim(), ylabel="correct clips")
    right_axis.tick_params(length=0)
    _legend(figure, axes)
    return figure


def seeds_and_folds(report: dict) -> Figure:
    """Plots how the metrics vary between seeds and the accuracy between folds.

    Args:
      report: the report of a run with ``metrics``, ``seeds`` and ``by_fold``. The
        panel of the folds is omitted if there is only one.
    """
    seeds, points = report["seeds"], report["by_fold"]
    folds = list(dict.fromkeys(point["fold"] for point in points))
    several, named = len(seeds) > 1, len(folds) <= 30
    wide = max(3.0, (0.2 + 0.02 * len(seeds)) * len(folds)) if named else 9.0
    widths = (4.2, wide)[: len(folds)]
    figure = Figure(figsize=(sum(widths) + 1, 4.6), layout="constrained")
    ratios: _Style = {"width_ratios": widths, "squeeze": False, "sharey": True}
    (panels,) = figure.subplots(1, len(widths), **ratios)
    # Seeds are drawn next to each other, since equal accuracies would overlap.
    offsets = np.linspace(-0.3, 0.3, len(seeds)) if several else np.zeros(1)
    hollow: _Style = {"marker": "o", "markersize": 3.5, "markerfacecolor": "none"}
    hollow |= {"color": _BLUE, "linestyle": "none"}

    axes, names = panels[0], {"accuracy": "accuracy", "uf1": "UF1", "uar": "UAR"}
    for x, name in enumerate(names):
        score = report["metrics"][name]
        at = x + 0.1 if several else x
        if several:
            axes.plot(x - 0.2 + 0.4 * offsets, score["values"], **hollow)
        # Not errorbar, because a bootstrap interval need not contain the mean.
        if score["interval"]:
            axes.plot([at, at], score["interval"], "_-", color=_VERMILION, markersize=8)
        axes.plot(at, score["mean"], "D", color=_VERMILION)
        place = {"xytext": (7, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{score['mean']:.3f}", (at, score["mean"]), **place)
    bounded = any(report["metrics"][name]["interval"] for name in names)
    label = f"mean of {len(seeds)} seeds" if several else "all clips"
    label += ", 95 % interval" if bounded else ""
    axes.plot([], [], "D-" if bounded else "D", color=_VERMILION, label=label)
    if several or len(folds) > 1:
        axes.plot([], [], **hollow, label="one seed" if several else "one fold")
    axes.set_xticks(range(len(names)), names.values())
    axes.set(xlim=(-0.5, 2.7), ylim=_UNIT_LIMITS, ylabel="score", title="all clips")
    _legend(figure, axes)

    if len(folds) > 1:
        axes, bounded = panels[1], len(points) <= 40
        for point in points:
            x = folds.index(point["fold"]) + offsets[seeds.index(point["seed"])]
            if bounded:
                axes.plot([x, x], point["accuracy_interval"], color=_BLUE, linewidth=1)
            axes.plot(x, point["correct"] / point["clips"], **hollow)
        if named:
            axes.set_xticks(range(len(folds)), folds, rotation=90)
        if named and several:  # lines separate the points of different folds
            axes.set_xticks(np.arange(len(folds) - 1) + 0.5, minor=True)
            axes.tick_params(axis="x", which="minor", length=0)
            axes.grid(axis="x", which="minor", alpha=0.5)
        label = "fold" if named else "index of the fold"
        axes.set(xlim=(-0.6, len(folds) - 0.4), xlabel=label, ylabel="accuracy")
        intervals = ", 95 % intervals" if bounded else ""
        axes.set_title(f"{len(folds)} folds{intervals}")
    for axes in panels:
        axes.grid(axis="y", alpha=0.3)
    return figure


def reliability_diagram(calibration: dict) -> Figure:
    """Plots accuracy over confidence, with the number of clips in each bin.

    Args:
      calibration: the result of ``metrics.calibration``.
    """
    figure = Figure(figsize=(5.4, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    keys = ("confidence", "accuracy", "clips")
    bins = np.array([[row[key] for key in keys] for row in calibration["bins"]])
    confidence, accuracy, clips = bins.T  # each [bins]
    above.plot([0, 1], [0, 1], "--", color=_GREY, label="confidence = accuracy")
    # Bars are at the mean confidence of a bin, where the gap is measured.
    gap: _Style = {"color": (_ORANGE, 0.4), "edgecolor": _ORANGE, "hatch": "///"}
    above.bar(confidence, accuracy - confidence, 0.03, confidence, label="gap", **gap)
    above.plot(confidence, accuracy, "o", color=_BLUE, label="bin of clips")
    above.set(xlim=_UNIT_LIMITS, ylim=_UNIT_LIMITS, ylabel="accuracy")
    title = f"expected calibration error (ECE) {calibration['ece']:.3f}"
    above.set_title(f"{title}, {clips.sum():.0f} clips", fontsize="medium")
    below.bar(confidence, clips, 0.03, color=_BLUE)
    below.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    below.set(xlabel="confidence (probability of the predicted class)", ylabel="clips")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    _legend(figure, above)
    return figure


def _legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """Adds the legend of ``axes`` below all panels, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False
    )
