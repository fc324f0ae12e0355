"""Answers of several models, and what is said of them."""

import dataclasses

import numpy as np
import pytest

from meranet_jax.prediction import notes, recogniser
from meranet_jax.prediction.cut import Cut
from meranet_jax.prediction.recognition import recognise
from meranet_jax.video.candidates import Settings
from tests.meranet_jax.prediction.predictions import event


@pytest.fixture(scope="module")
def shipped():
    return recogniser.load(None)


def clip(distinct=True):
    return Cut(0, {}, 0.5, (1, 2), (0.4, 0.6), 1, 2 if distinct else 1, 100.0)


def answered(of_models, loaded, one=None, **changes):
    made = one or event(1, 0.4, 0.5, 0.7)
    options = {"too_small": False, "settings": Settings()} | changes
    return recognise(made, clip(), np.array(of_models, np.float32), loaded, **options)


SURE, UNSURE = [0.99, 0.005, 0.005], [0.48, 0.48, 0.04]


def test_each_model_is_calibrated_and_the_majority_counts(shipped):
    one = answered([SURE], shipped)
    assert one.plausible == ("negative",) and one.answer == "negative"
    assert 0.5 < one.probabilities[0] < 0.99  # it was too sure
    three = answered([SURE, SURE, UNSURE], shipped)
    assert three.plausible == ("negative",) and not three.reasons
    expected = shipped.calibration.calibrated(np.array([SURE, SURE, UNSURE])).mean(0)
    np.testing.assert_allclose(three.probabilities, expected, rtol=1e-5)
    other = answered([SURE, UNSURE, UNSURE], shipped)
    assert other.plausible == ("negative", "positive") and other.answer is None
    assert other.reasons == ("several classes are plausible: negative and positive",)


def test_reasons_for_no_answer(shipped):
    assert "too small" in answered([SURE], shipped, too_small=True).reasons[0]
    blink = event(1, 0.4, 0.5, 0.7, flags=("blink",), regions=("brow_left_inner",))
    assert "eyes blink" in answered([SURE], shipped, blink).reasons[0]
    smile = dataclasses.replace(blink, regions=("brow_left_inner", "lip_upper"))
    assert answered([SURE], shipped, smile).answer == "negative"
    moved = event(1, 0.4, 0.5, 0.7, flags=("head motion",))
    assert answered([SURE], shipped, moved).reasons == ("the head moves",)
    weak = event(1, 0.4, 0.5, 0.7, origin="imported", strength=0.01, noise=0.004)
    assert "noise" in answered([SURE], shipped, weak).reasons[0]
    same = recognise(
        event(1, 0.4, 0.5, 0.7),
        clip(distinct=False),
        np.array([SURE]),
        shipped,
        too_small=False,
        settings=Settings(),
    )
    assert same.reasons == ("only 1 of the 2 frames of its clip are distinct",)


def test_coverage_is_said_as_far_as_it_holds(shipped):
    one = notes.of_recogniser(shipped)
    assert one.coverage == pytest.approx(0.9) and one.observed_coverage > 0.85
    assert any("60 generated faces" in limit for limit in one.limits)
    several = notes.of_recogniser(dataclasses.replace(shipped, models=3))
    assert several.coverage == pytest.approx(0.8) and several.observed_coverage is None
    assert any("3 models were calibrated one by one" in one for one in several.limits)
    same_people = dataclasses.replace(shipped.calibration, new_people=False)
    known = notes.of_recogniser(dataclasses.replace(shipped, calibration=same_people))
    assert known.coverage is None
    assert any("may have been trained on the people" in one for one in known.limits)
