import numpy as np
import pytest

from meranet_jax import metrics

CLASSES = ("a", "b", "c")


def test_confusion_matrix_has_truth_in_rows():
    matrix = metrics.confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_scores_by_hand():
    # a: TP 8, FP 1, FN 2.  b: TP 3, FP 4, FN 1.  c: TP 1, FP 1, FN 3.
    result = metrics.scores(np.array([[8, 2, 0], [0, 3, 1], [1, 2, 1]]), CLASSES)
    assert result["clips"] == 18
    assert result["correct"] == 12
    assert result["accuracy"] == pytest.approx(12 / 18)
    assert result["uf1"] == pytest.approx((16 / 19 + 6 / 11 + 2 / 6) / 3)
    assert result["uar"] == pytest.approx((8 / 10 + 3 / 4 + 1 / 4) / 3)
    assert result["by_class"]["b"]["clips"] == 4


def test_a_class_without_clips_is_not_averaged_in():
    result = metrics.scores(np.array([[2, 0, 1], [0, 1, 0], [0, 0, 0]]), CLASSES)
    assert result["by_class"]["c"] == {"clips": 0, "recall": None, "f1": 0.0}
    assert result["uar"] == pytest.approx((2 / 3 + 1) / 2)
    assert result["uf1"] == pytest.approx((4 / 5 + 1) / 2)


def test_no_clips_are_an_error():
    with pytest.raises(ValueError, match="no clips"):
        metrics.scores(np.zeros((3, 3), int), CLASSES)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # R: binom::binom.wilson
    [(11, 12, 0.6461, 0.9851), (12, 12, 0.7575, 1.0), (0, 5, 0.0, 0.4345)],
)
def test_wilson_interval(correct, total, low, high):
    found = metrics.wilson_interval(correct, total)
    assert found == pytest.approx([low, high], abs=1e-3)
