import numpy as np
import pytest
from matplotlib.figure import Figure

from meranet_jax.evaluation import figures, metrics
from meranet_jax.evaluation.predictions import Predictions

KEYS = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
CLASSES = tuple(f"a long name of class {letter}" for letter in "abcdefgh")


def fold(values):
    """A fold's lines of metrics, all of which are its value of that epoch."""
    return [{"epoch": n, **dict.fromkeys(KEYS, v)} for n, v in enumerate(values, 1)]


def predict(right, subjects, datasets=None, seeds=None):
    """Predictions of class 0, which is the truth where they are right."""
    count, subjects = len(right), np.array(subjects)
    datasets = np.array(datasets or ["casme2"] * count)
    seeds, truth = np.array(seeds or [0] * count), 1 - np.array(right)
    said = np.tile(np.float32([0.8, 0.2]), (count, 1))
    clips, classes = np.arange(count).astype(str), ("a", "b")
    return Predictions(classes, clips, datasets, subjects, seeds, subjects, truth, said)


def report(seeds, folds, interval=(0.5, 0.9)):
    values = np.linspace(0.6, 0.7, seeds).tolist()
    score = {"mean": float(np.mean(values)), "values": values, "interval": interval}
    point = {"clips": 4, "correct": 4, "accuracy_interval": [0.5, 1.0]}
    pairs = [(seed, f"s{fold:02}") for seed in range(seeds) for fold in range(folds)]
    return {
        "metrics": dict.fromkeys(("accuracy", "uf1", "uar"), score),
        "seeds": list(range(seeds)),
        "by_fold": [{"seed": seed, "fold": fold, **point} for seed, fold in pairs],
    }


def drawn(axes):
    """By label, the lines that are not there for the legend alone."""
    return {line.get_label(): line for line in axes.lines if len(line.get_xdata())}


KNOWN = predict([1, 0, 1], ["s01", "s01", "s02"])
CALIBRATION = metrics.calibration(KNOWN.probabilities, KNOWN.truth)
FIGURES = {
    "curves": lambda: figures.curves({"s01": fold([0.3, 0.5]), "s02": fold([0.4])}),
    "confusion": lambda: figures.confusion(np.diag(range(8)), CLASSES, "title " * 30),
    "subjects": lambda: figures.subjects(KNOWN),
    "spread": lambda: figures.spread(report(5, 26)),
    "reliability": lambda: figures.reliability(CALIBRATION),
}


@pytest.mark.parametrize("name", FIGURES)
def test_saved_twice_is_the_same_and_nothing_is_cut_off(name, tmp_path):
    figure = FIGURES[name]()
    figures.save(figure, tmp_path / "one.x")
    figures.save(figure, tmp_path / "two.png")
    names = " ".join(sorted(path.name for path in tmp_path.iterdir()))
    assert names == "one.png one.svg two.png two.svg"
    one, two = ((tmp_path / f"{n}.svg").read_bytes() for n in ("one", "two"))
    assert one == two
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_a_figure_that_fails_leaves_the_old_one_whole(tmp_path, monkeypatch):
    (tmp_path / "one.png").write_text("old")

    def fail(self, path, **options):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(KeyboardInterrupt):
        figures.save(figures.curves({}), tmp_path / "one.png")
    assert list(tmp_path.iterdir()) == [tmp_path / "one.png"]
    assert (tmp_path / "one.png").read_text() == "old"


def test_svg_holds_names_as_text(tmp_path):
    figures.save(figures.confusion(np.eye(8, dtype=int), CLASSES, "8"), tmp_path / "c")
    text = (tmp_path / "c.svg").read_text()
    assert all(text.count(f">{name}<") == 2 for name in CLASSES)
    assert "<dc:date>" not in text


def test_a_class_without_clips_says_so():
    matrix = np.array([[3, 1], [0, 0]])
    figure = figures.confusion(matrix, ("a", "b"), "4 clips")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["3\n75%", "1\n25%", "no clips"]


def test_curves_average_over_the_epochs_that_all_begun_folds_have():
    lines = {"s01": fold([0.2, 0.4, 0.6]), "s02": fold([0.4, 0.8]), "s03": []}
    for axes in figures.curves(lines).axes:
        mean = drawn(axes)["train, mean of 2 folds"]
        assert list(mean.get_xdata()) == [1, 2]
        np.testing.assert_allclose(mean.get_ydata(), [0.3, 0.6])


@pytest.mark.parametrize("lines", [{}, {"s01": []}, {"s01": [], "s02": []}])
def test_curves_without_an_epoch(lines):
    assert figures.curves(lines).axes[0].get_title() == "no epoch yet"
    # One that has begun beside them is drawn once: it is no mean.
    axes = figures.curves({"s00": fold([0.5]), **lines}).axes[0]
    assert list(drawn(axes)) == ["train", "validation"]


def test_subjects_have_intervals_with_one_seed_only():
    right, names = [1, 1, 0, 1], ["s01", "s02"] * 2
    one = drawn(figures.subjects(predict(right, names)).axes[0])
    two = drawn(figures.subjects(predict(right, names, seeds=[0, 0, 1, 1])).axes[0])
    assert len(one) == len(two) + 2
    # 3 of 4 are right; the commonest class is that of those.
    assert {"all clips, 0.750", "always the commonest class, 0.750"} <= set(two)


def test_spread_leaves_out_one_fold_and_bears_any_interval():
    assert len(figures.spread(report(5, 1)).axes) == 1
    # An interval beside its mean, which a bootstrap may give.
    assert len(figures.spread(report(1, 2, interval=(0.7, 0.9))).axes) == 2
    assert len(figures.spread(report(1, 1, interval=None)).axes) == 1


@pytest.mark.parametrize(("folds", "lines"), [(40, 80), (41, 41)])
def test_spread_has_intervals_of_at_most_40_points(folds, lines):
    assert len(figures.spread(report(1, folds)).axes[1].lines) == lines
