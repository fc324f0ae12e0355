import numpy as np
import pytest
from matplotlib.figure import Figure

from meranet_jax.evaluation import figures, metrics
from meranet_jax.evaluation.predictions import Predictions

KEYS = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
CLASSES = tuple(f"a long name of class {letter}" for letter in "abcdefgh")


def fold(values):
    """Metrics of the epochs of a fold; all metrics of an epoch have the same value."""
    return [{"epoch": n, **dict.fromkeys(KEYS, v)} for n, v in enumerate(values, 1)]


def predict(correct, subjects, datasets=None, seeds=None):
    """Predictions of class 0, which is the true class where ``correct`` is 1."""
    count, subjects = len(correct), np.array(subjects)
    datasets = np.array(datasets or ["casme2"] * count)
    seeds, truth = np.array(seeds or [0] * count), 1 - np.array(correct)
    probabilities = np.tile(np.float32([0.8, 0.2]), (count, 1))
    clips, classes = np.arange(count).astype(str), ("a", "b")
    return Predictions(
        classes, clips, datasets, subjects, seeds, subjects, truth, probabilities
    )


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
    """The lines of a plot by label, without those that exist only for the legend."""
    return {line.get_label(): line for line in axes.lines if len(line.get_xdata())}


def of_system(name, published):
    """A row of Table 1."""
    scores = {}
    for score in ("uf1", "accuracy"):
        scores |= {score: 0.5, f"{score}_low": 0.4, f"{score}_high": 0.6}
        scores[f"commonest_{score}"] = 0.3
    of = {"system": name, "dataset": "casme2", "protocol": "loso"}
    return of | scores | {"published_accuracy": published}


KNOWN = predict([1, 0, 1], ["s01", "s01", "s02"])
CALIBRATION = metrics.calibration(KNOWN.probabilities, KNOWN.truth)
FIGURES = {
    "curves": lambda: figures.learning_curves(
        {"s01": fold([0.3, 0.5]), "s02": fold([0.4])}
    ),
    "confusion": lambda: figures.confusion_matrix(
        np.diag(range(8)), CLASSES, "title " * 30
    ),
    "subjects": lambda: figures.accuracy_by_subject(KNOWN),
    "spread": lambda: figures.seeds_and_folds(report(5, 26)),
    "systems": lambda: figures.systems([of_system("A", 0.9), of_system("B", None)]),
    "reliability": lambda: figures.reliability_diagram(CALIBRATION),
}


@pytest.mark.parametrize("name", FIGURES)
def test_saving_is_deterministic_and_nothing_is_cut_off(name, tmp_path):
    figure = FIGURES[name]()
    figures.save(figure, tmp_path / "one.x")
    figures.save(figure, tmp_path / "two.png")
    names = " ".join(sorted(path.name for path in tmp_path.iterdir()))
    assert names == "one.png one.svg two.png two.svg"
    one, two = ((tmp_path / f"{n}.svg").read_bytes() for n in ("one", "two"))
    assert one == two
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_failed_save_keeps_the_old_figure(tmp_path, monkeypatch):
    (tmp_path / "one.png").write_text("old")

    def fail(self, path, **options):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(KeyboardInterrupt):
        figures.save(figures.learning_curves({}), tmp_path / "one.png")
    assert list(tmp_path.iterdir()) == [tmp_path / "one.png"]
    assert (tmp_path / "one.png").read_text() == "old"


def test_svg_contains_names_as_text(tmp_path):
    figures.save(
        figures.confusion_matrix(np.eye(8, dtype=int), CLASSES, "8"), tmp_path / "c"
    )
    text = (tmp_path / "c.svg").read_text()
    assert all(text.count(f">{name}<") == 2 for name in CLASSES)
    assert "<dc:date>" not in text


def test_confusion_matrix_labels_classes_without_clips():
    matrix = np.array([[3, 1], [0, 0]])
    figure = figures.confusion_matrix(matrix, ("a", "b"), "4 clips")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["3\n75%", "1\n25%", "no clips"]


def test_learning_curves_average_over_common_epochs_of_started_folds():
    lines = {"s01": fold([0.2, 0.4, 0.6]), "s02": fold([0.4, 0.8]), "s03": []}
    for axes in figures.learning_curves(lines).axes:
        mean = drawn(axes)["train, mean of 2 folds"]
        assert list(mean.get_xdata()) == [1, 2]
        np.testing.assert_allclose(mean.get_ydata(), [0.3, 0.6])


@pytest.mark.parametrize("lines", [{}, {"s01": []}, {"s01": [], "s02": []}])
def test_learning_curves_without_epochs(lines):
    assert figures.learning_curves(lines).axes[0].get_title() == "no epochs yet"
    # A single started fold is drawn once, without a mean.
    axes = figures.learning_curves({"s00": fold([0.5]), **lines}).axes[0]
    assert list(drawn(axes)) == ["train", "validation"]


def test_accuracy_by_subject_has_intervals_for_one_seed_only():
    correct, names = [1, 1, 0, 1], ["s01", "s02"] * 2
    one = drawn(figures.accuracy_by_subject(predict(correct, names)).axes[0])
    several = predict(correct, names, seeds=[0, 0, 1, 1])
    two = drawn(figures.accuracy_by_subject(several).axes[0])
    assert len(one) == len(two) + 2
    # 3 of 4 are correct, all of them of the majority class.
    assert {"all clips, 0.750", "majority class, 0.750"} <= set(two)


def test_seeds_and_folds_omits_a_single_fold_and_accepts_any_interval():
    assert len(figures.seeds_and_folds(report(5, 1)).axes) == 1
    # A bootstrap interval need not contain the mean.
    assert len(figures.seeds_and_folds(report(1, 2, interval=(0.7, 0.9))).axes) == 2
    assert len(figures.seeds_and_folds(report(1, 1, interval=None)).axes) == 1


@pytest.mark.parametrize(("folds", "lines"), [(40, 80), (41, 41)])
def test_seeds_and_folds_has_intervals_for_at_most_40_folds(folds, lines):
    assert len(figures.seeds_and_folds(report(1, folds)).axes[1].lines) == lines
