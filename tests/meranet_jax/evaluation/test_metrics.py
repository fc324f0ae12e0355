"""Metrics against scikit-learn, statsmodels, torchmetrics and values by hand."""

import json

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import calibration as sk_calibration
from sklearn import metrics as sk
from statsmodels.stats import contingency_tables, proportion

from meranet_jax.evaluation import metrics

CLASSES = ("a", "b", "c")
SETTINGS = hypothesis.settings(
    deadline=None, derandomize=True, database=None, max_examples=100
)
# Truth, prediction and number of classes.
DEGENERATE = {
    "a class absent in truth": ([0, 0, 1, 1], [0, 2, 1, 2], 3),
    "a class absent in both": ([0, 0, 2, 2], [0, 2, 0, 2], 3),
    "one clip, correct": ([1], [1], 3),
    "one clip, wrong": ([1], [0], 3),
    "all predictions equal": ([0, 1, 2, 2], [1, 1, 1, 1], 3),
    "all predictions a class absent in truth": ([0, 0, 1], [2, 2, 2], 3),
    "all correct": ([0, 1, 2, 2], [0, 1, 2, 2], 3),
    "all wrong": ([0, 1, 2, 2], [1, 2, 0, 1], 3),
}


@st.composite
def labels(draw):
    """Draws truth, prediction and number of classes."""
    classes = draw(st.integers(2, 6))
    pair = st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1))
    pairs = draw(st.lists(pair, min_size=1, max_size=60))
    return [t for t, _ in pairs], [p for _, p in pairs], classes


def on_labels(test):
    """Runs a test of (truth, prediction, classes) on random and degenerate labels."""

    def given(case):
        test(*case)

    given.__name__, given.__doc__ = test.__name__, test.__doc__
    for case in DEGENERATE.values():
        given = hypothesis.example(case)(given)
    return SETTINGS(hypothesis.given(case=labels())(given))


def matrix_of(truth, prediction, classes):
    return metrics.confusion_matrix(np.array(truth), np.array(prediction), classes)


# Confusion matrix


def test_confusion_matrix_has_true_classes_in_rows():
    matrix = matrix_of([0, 0, 1, 2], [0, 1, 1, 1], 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]


@on_labels
def test_confusion_matrix_equals_scikit_learn(truth, prediction, classes):
    expected = sk.confusion_matrix(truth, prediction, labels=range(classes))
    ours = matrix_of(truth, prediction, classes)
    assert ours.dtype == np.int64
    np.testing.assert_array_equal(ours, expected)


# Metrics


@on_labels
def test_accuracy_equals_scikit_learn(truth, prediction, classes):
    found = metrics.accuracy(matrix_of(truth, prediction, classes))
    assert found == pytest.approx(sk.accuracy_score(truth, prediction))


@pytest.mark.filterwarnings(
    "ignore:y_pred contains classes not in y_true:UserWarning",
    "ignore:A single label was found in 'y_true' and 'y_pred':UserWarning",
)
@on_labels
def test_uar_equals_balanced_accuracy_of_scikit_learn(truth, prediction, classes):
    found = metrics.uar(matrix_of(truth, prediction, classes))
    assert found == pytest.approx(sk.balanced_accuracy_score(truth, prediction))


@on_labels
def test_uar_equals_scikit_learn_recall_of_classes_with_clips(
    truth, prediction, classes
):
    expected = sk.recall_score(
        truth, prediction, labels=sorted(set(truth)), average="macro"
    )
    assert metrics.uar(matrix_of(truth, prediction, classes)) == pytest.approx(expected)


@on_labels
def test_uf1_equals_scikit_learn_f1_of_classes_with_clips(truth, prediction, classes):
    expected = sk.f1_score(
        truth, prediction, labels=sorted(set(truth)), average="macro"
    )
    assert metrics.uf1(matrix_of(truth, prediction, classes)) == pytest.approx(expected)


@on_labels
def test_macro_f1_equals_scikit_learn(truth, prediction, classes):
    found = metrics.macro_f1(matrix_of(truth, prediction, classes))
    expected = sk.f1_score(truth, prediction, average="macro")
    assert found == pytest.approx(expected)


@on_labels
def test_weighted_f1_equals_scikit_learn(truth, prediction, classes):
    found = metrics.weighted_f1(matrix_of(truth, prediction, classes))
    expected = sk.f1_score(truth, prediction, average="weighted")
    assert found == pytest.approx(expected)


@on_labels
def test_f1_of_each_class_equals_scikit_learn(truth, prediction, classes):
    found = metrics.f1(matrix_of(truth, prediction, classes))
    expected = sk.f1_score(
        truth, prediction, labels=range(classes), average=None, zero_division=0
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("name", metrics.STATISTICS)
@SETTINGS
@hypothesis.given(
    stack=hnp.arrays(np.int64, (2, 3, 4, 4), elements=st.integers(0, 3)).filter(
        lambda stack: stack.sum((-2, -1)).all()
    )
)
def test_metrics_accept_leading_axes(name, stack):
    statistic = metrics.STATISTICS[name]
    found = statistic(stack)
    assert found.shape == (2, 3)
    for index in np.ndindex(2, 3):
        assert found[index] == pytest.approx(statistic(stack[index]), abs=1e-12)


def test_f1_accepts_leading_axes():
    stack = np.random.default_rng(0).integers(0, 4, (2, 3, 4, 4))
    found = metrics.f1(stack)
    assert found.shape == (2, 3, 4)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(found[index], metrics.f1(stack[index]))


# Scores


def test_scores_by_hand():
    # a: TP 8, FP 1, FN 2.  b: TP 3, FP 4, FN 1.  c: TP 1, FP 1, FN 3.
    result = metrics.scores(np.array([[8, 2, 0], [0, 3, 1], [1, 2, 1]]), CLASSES)
    f1 = {"a": 16 / 19, "b": 6 / 11, "c": 2 / 6}
    assert result["clips"] == 18
    assert result["correct"] == 12
    assert result["accuracy"] == pytest.approx(12 / 18)
    assert result["uf1"] == result["macro_f1"] == pytest.approx(sum(f1.values()) / 3)
    assert result["uar"] == pytest.approx((8 / 10 + 3 / 4 + 1 / 4) / 3)
    weighted = (10 * f1["a"] + 4 * f1["b"] + 4 * f1["c"]) / 18
    assert result["weighted_f1"] == pytest.approx(weighted)
    assert result["by_class"]["b"] == pytest.approx(
        {"clips": 4, "recall": 3 / 4, "f1": f1["b"]}
    )


def test_class_without_clips_is_not_averaged():
    result = metrics.scores(np.array([[2, 0, 1], [0, 1, 0], [0, 0, 0]]), CLASSES)
    assert result["by_class"]["c"] == {"clips": 0, "recall": None, "f1": 0.0}
    assert result["uar"] == pytest.approx((2 / 3 + 1) / 2)
    assert result["uf1"] == pytest.approx((4 / 5 + 1) / 2)
    assert result["macro_f1"] == pytest.approx((4 / 5 + 1 + 0) / 3)


def test_class_without_clips_and_predictions_has_no_f1():
    result = metrics.scores(np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]]), CLASSES)
    assert result["by_class"]["c"] == {"clips": 0, "recall": None, "f1": None}
    assert result["uf1"] == result["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)


@on_labels
def test_scores_by_class_equal_scikit_learn(truth, prediction, classes):
    names = tuple("abcdef"[:classes])
    result = metrics.scores(matrix_of(truth, prediction, classes), names)
    options = {"labels": range(classes), "average": None, "zero_division": np.nan}
    assert tuple(result["by_class"]) == names
    for key, expected in (
        ("recall", sk.recall_score(truth, prediction, **options)),
        ("f1", sk.f1_score(truth, prediction, **options)),
    ):
        found = [row[key] for row in result["by_class"].values()]
        assert [value is None for value in found] == np.isnan(expected).tolist()
        np.testing.assert_allclose(np.array(found, float), expected, atol=1e-12)


@on_labels
def test_scores_contain_all_metrics_and_can_be_written_as_json(
    truth, prediction, classes
):
    confusion = matrix_of(truth, prediction, classes)
    result = metrics.scores(confusion, tuple("abcdef"[:classes]))
    assert result["clips"] == len(truth)
    assert result["correct"] == sum(map(int.__eq__, truth, prediction))
    for name, statistic in metrics.STATISTICS.items():
        assert result[name] == statistic(confusion)
        assert 0 <= result[name] <= 1
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize("name", metrics.STATISTICS)
def test_all_correct_is_one_and_all_wrong_is_zero(name):
    for case, value in (("all correct", 1), ("all wrong", 0)):
        assert metrics.STATISTICS[name](matrix_of(*DEGENERATE[case])) == value


# Intervals and tests


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # R: binom::binom.wilson
    [(11, 12, 0.6461, 0.9851), (12, 12, 0.7575, 1.0), (0, 5, 0.0, 0.4345)],
)
def test_wilson_interval_equals_r(correct, total, low, high):
    found = metrics.wilson_interval(correct, total)
    assert found == pytest.approx([low, high], abs=1e-3)


@SETTINGS
@hypothesis.given(
    counts=st.integers(1, 5000).flatmap(
        lambda total: st.tuples(st.integers(0, total), st.just(total))
    )
)
@hypothesis.example(counts=(0, 1))
@hypothesis.example(counts=(1, 1))
def test_wilson_interval_equals_statsmodels(counts):
    expected = proportion.proportion_confint(*counts, method="wilson")
    assert metrics.wilson_interval(*counts) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_by_hand():
    assert metrics.mcnemar(0, 5) == pytest.approx(2 / 2**5)
    assert metrics.mcnemar(5, 1) == pytest.approx(2 * (1 + 6) / 2**6)
    assert metrics.mcnemar(0, 0) == metrics.mcnemar(4, 4) == 1


@SETTINGS
@hypothesis.given(first=st.integers(0, 300), second=st.integers(0, 300))
@hypothesis.example(first=0, second=0)
@hypothesis.example(first=0, second=1)
def test_mcnemar_equals_statsmodels(first, second):
    # Clips that both have correct, or both wrong, do not matter.
    expected = contingency_tables.mcnemar([[7, first], [second, 2]], exact=True).pvalue
    found = metrics.mcnemar(first, second)
    assert found == pytest.approx(float(expected), rel=1e-9)


# Calibration


def test_calibration_by_hand():
    # Four bins: (0.25, 0.5] contains two clips, (0.75, 1] three.
    confidence = np.array([0.5, 0.375, 0.875, 1.0, 0.875])
    truth = np.array([0, 1, 0, 0, 1])
    found = metrics.calibration(np.stack([confidence, 0 * confidence], -1), truth, 4)
    assert found["bins"] == [
        {"clips": 2, "confidence": 0.4375, "accuracy": 0.5},
        {"clips": 3, "confidence": pytest.approx(2.75 / 3), "accuracy": 2 / 3},
    ]
    assert found["ece"] == pytest.approx((0.125 + 0.75) / 5)


EDGES = [index / 15 for index in range(16)]


@SETTINGS
@hypothesis.given(
    clips=st.lists(
        st.tuples(st.sampled_from(EDGES) | st.floats(0, 1, width=32), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
@hypothesis.example(clips=[(edge, True) for edge in EDGES])
@hypothesis.example(clips=[(edge, False) for edge in np.float32(EDGES)])
@hypothesis.example(clips=[(1.0, True), (0.95, False)])
@hypothesis.example(clips=[(0.0, True)])
def test_calibration_equals_scikit_learn_curve(clips):
    confidence, correct = (np.array(column) for column in zip(*clips, strict=True))
    confidence = confidence.astype(np.float64)
    accuracies, confidences = sk_calibration.calibration_curve(
        correct.astype(int), confidence, n_bins=15, pos_label=1
    )
    # As in calibration_curve, an edge belongs to the bin below it.
    number = np.searchsorted(np.linspace(0, 1, 16)[1:-1], confidence)
    counts = np.unique(number, return_counts=True)[1]
    # The first of two classes is always predicted.
    found = metrics.calibration(
        np.stack([confidence, 0 * confidence], -1), np.where(correct, 0, 1)
    )
    rows = {key: [row[key] for row in found["bins"]] for key in found["bins"][0]}
    assert rows["clips"] == counts.tolist()
    np.testing.assert_allclose(rows["accuracy"], accuracies, atol=1e-12)
    np.testing.assert_allclose(rows["confidence"], confidences, atol=1e-12)
    error = np.average(np.abs(accuracies - confidences), weights=counts)
    assert found["ece"] == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 5, 7])
@pytest.mark.parametrize("sharpness", [0.2, 1.0, 2.0])
def test_calibration_error_equals_torchmetrics(classes, sharpness):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    classification = pytest.importorskip(
        "torchmetrics.classification", reason="torchmetrics is not installed"
    )
    rng = np.random.default_rng(classes)
    for clips in (1, 2, 30, 500):
        logits = sharpness * rng.normal(size=(clips, classes))
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        probabilities = probabilities.astype(np.float32)
        # torchmetrics puts a confidence of 1 in a separate bin.
        assert probabilities.max() < 1
        truth = rng.integers(0, classes, clips)
        expected = classification.MulticlassCalibrationError(
            classes, n_bins=15, norm="l1"
        )(torch.from_numpy(probabilities), torch.from_numpy(truth))
        found = metrics.calibration(probabilities, truth)
        assert found["ece"] == pytest.approx(expected.item(), abs=1e-5)


def test_calibration_bins_count_every_clip_once():
    rng = np.random.default_rng(0)
    probabilities, truth = rng.dirichlet([1, 1, 1], 200), rng.integers(0, 3, 200)
    found = metrics.calibration(probabilities, truth)
    assert sum(row["clips"] for row in found["bins"]) == 200
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("truth", "error"), [([0, 0], 0), ([1, 1], 1)], ids=["all correct", "all wrong"]
)
def test_calibration_of_certain_predictions(truth, error):
    probabilities = np.array([[1, 0], [1, 0]], np.float32)
    assert metrics.calibration(probabilities, np.array(truth))["ece"] == error


# No clips


@pytest.mark.parametrize(
    "function",
    [
        lambda: metrics.scores(np.zeros((3, 3), int), CLASSES),
        lambda: metrics.bootstrap_interval(np.zeros((4, 2, 3, 3), int), metrics.uf1),
        lambda: metrics.calibration(np.zeros((0, 3)), np.zeros(0, int)),
        lambda: metrics.wilson_interval(0, 0),
    ],
    ids=["scores", "bootstrap", "calibration", "wilson"],
)
def test_no_clips_raise(function):
    with pytest.raises(ValueError, match="no clips"):
        function()


@pytest.mark.parametrize(
    ("correct", "total", "message"),
    [
        (0, -1, "total is -1, expected at least 1"),
        (-1, 4, r"correct is -1, expected 0 to 4 \(total\)"),
        (5, 4, r"correct is 5, expected 0 to 4 \(total\)"),
    ],
)
def test_wilson_interval_rejects_impossible_counts(correct, total, message):
    with pytest.raises(ValueError, match=message):
        metrics.wilson_interval(correct, total)
