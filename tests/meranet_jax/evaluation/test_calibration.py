"""Calibrated probabilities and conformal sets of generated predictions."""

import numpy as np
import pytest

from meranet_jax.errors import UserError
from meranet_jax.evaluation import calibration
from meranet_jax.evaluation.predictions import Predictions


def predictions(probabilities, truth, person):
    number = len(truth)
    return Predictions(
        classes=tuple("abc"[: probabilities.shape[1]]),
        clips=np.arange(number).astype(str),
        datasets=np.full(number, "casme2"),
        subjects=np.array([f"sub{p:02d}" for p in person]),
        seeds=np.zeros(number, int),
        folds=np.full(number, "0"),
        truth=np.asarray(truth),
        probabilities=np.asarray(probabilities, np.float32),
    )


def generated(rng, people, clips=8, sure=1.0, person_effect=1.0):
    """Returns predictions whose logits are too large by a factor of ``sure``."""
    person = np.repeat(np.arange(people), clips)
    centre = rng.normal(0, person_effect, (people, 3))
    logits = rng.normal(0, 1.5, (len(person), 3)) + centre[person]
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.array([rng.choice(3, p=p) for p in true])
    powers = np.exp(sure * logits)
    return predictions(powers / powers.sum(1, keepdims=True), truth, person)


@pytest.mark.parametrize("sure", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_too_much_confidence(sure):
    found = calibration.calibrate(generated(np.random.default_rng(0), 200, sure=sure))
    assert found.temperature == pytest.approx(sure, rel=0.12)


def test_probabilities_keep_their_order_and_their_sum():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    scaled = calibration.scale(probabilities, 2.5)
    assert scaled.sum(1) == pytest.approx(np.ones(50))
    assert (scaled.argsort(1) == probabilities.argsort(1)).all()
    assert calibration.scale(probabilities, 1.0) == pytest.approx(probabilities)
    assert np.isfinite(calibration.scale(np.array([1.0, 0.0, 0.0]), 0.1)).all()


@pytest.mark.parametrize("people", [10, 26])
def test_sets_of_new_people_have_the_true_class_as_often_as_chosen(people):
    rng = np.random.default_rng(people)
    covered = []
    for _ in range(80):
        known = calibration.calibrate(generated(rng, people, person_effect=2.0), 0.2)
        new = generated(rng, 4, person_effect=2.0)
        sets = known.sets(new.probabilities)
        covered.append(sets[np.arange(len(new)), new.truth].mean())
    # 320 new people. A set of few people has more classes than it needs.
    assert 0.77 <= np.mean(covered) <= 0.8 + 1 / (people + 1) + 0.03


def test_the_threshold_counts_people_and_not_clips():
    # One of ten people has most of the clips, and no true class is probable in them.
    person = np.array([0] * 100 + list(range(1, 10)))
    sure = np.where(person == 0, 0.1, 0.9)
    probabilities = np.stack([sure, 1 - sure], 1)
    truth = np.zeros(len(person), int)
    found = calibration.calibrate(predictions(probabilities, truth, person), 0.2)
    few = found.calibrated(np.array([0.9, 0.1]))[0]
    assert found.threshold == pytest.approx(few, abs=1e-3)
    assert found.subjects == 10 and found.clips == 109


def test_few_people_give_sets_of_all_classes():
    rng = np.random.default_rng(0)
    found = calibration.calibrate(generated(rng, 5), 0.1)
    assert found.threshold == 0 and found.sets(np.array([0.98, 0.01, 0.01])).all()
    assert found.coverage == 1 and found.set_size == 3
    assert calibration.calibrate(generated(rng, 1), 0.1).coverage is None


@pytest.mark.parametrize(("miss", "people"), [(0.05, 19), (0.1, 9), (0.3, 3), (0.6, 1)])
def test_the_number_of_people_that_a_coverage_needs(miss, people):
    assert calibration.people_needed(miss) == people
    rng = np.random.default_rng(0)
    assert calibration.calibrate(generated(rng, people), miss).threshold > 0
    if people > 1:
        fewer = calibration.calibrate(generated(rng, people - 1), miss)
        assert fewer.threshold == 0


def test_a_person_is_calibrated_on_all_others():
    some = generated(np.random.default_rng(3), 12, sure=3.0)
    scaled = calibration.calibrate_by_others(some)
    own = some.subjects == "sub04"
    others = calibration.calibrate(some.select(~own))
    expected = others.calibrated(some.probabilities[own])
    np.testing.assert_allclose(scaled[own], expected, rtol=1e-5)
    before = calibration.log_loss(some.probabilities, some.truth)
    assert calibration.log_loss(scaled, some.truth) < before - 0.1
    assert calibration.calibrate_by_others(some.select(own)) is None


def test_the_coverage_is_that_of_people_who_were_left_out():
    found = calibration.calibrate(generated(np.random.default_rng(1), 60), 0.2)
    assert found.coverage == pytest.approx(0.8, abs=0.06) and 1 < found.set_size < 3


def test_several_seeds_are_further_clips_of_the_same_person():
    one = generated(np.random.default_rng(2), 12)
    twice = predictions(
        np.concatenate([one.probabilities] * 2),
        np.concatenate([one.truth] * 2),
        [int(s[3:]) for s in one.subjects] * 2,
    )
    first, second = (calibration.calibrate(p, 0.2) for p in (one, twice))
    assert second.subjects == 12
    assert second.threshold == pytest.approx(first.threshold, abs=1e-6)


def test_invalid_values_are_refused():
    few = generated(np.random.default_rng(0), 2)
    with pytest.raises(UserError, match="must be between 0 and 1"):
        calibration.calibrate(few, 1.0)
    with pytest.raises(UserError, match="no predictions"):
        calibration.calibrate(few.select(np.zeros(len(few), bool)))
