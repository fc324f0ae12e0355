import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meranet_jax.data import protocols
from meranet_jax.errors import UserError
from tests.meranet_jax.loading import clips_of


def holdout(clips, **changes):
    options = {"test_fraction": 0.25, "validation_fraction": 0.2, "seed": 0}
    return protocols.holdout(clips, **options | changes)


def draw(protocol, clips, **changes):
    options = {"test_fraction": 0.25, "validation_fraction": 0.2, "seed": 0, "folds": 5}
    return protocols.draw(protocol, clips, **options | changes)


def casme2_like(seed=0):
    """123 clips of 26 subjects, who differ widely in number of clips and classes."""
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet([0.5] * 26)
    subjects = [f"sub{n + 1:02d}" for n in range(26)]
    subjects += [f"sub{n + 1:02d}" for n in rng.choice(26, 97, p=chances)]
    labels = rng.choice(3, 123, p=[0.51, 0.26, 0.23])
    return clips_of(labels, subjects)


def counts(clips, part):
    return np.bincount(clips.labels[part], minlength=len(clips.classes)).tolist()


def test_holdout_is_stratified_disjoint_and_complete():
    clips = clips_of(np.repeat([0, 1, 2], [63, 32, 28]))  # CASME II
    fold = holdout(clips)
    assert sorted(np.concatenate(list(fold.parts.values()))) == list(range(123))
    # a: 63 -> 16 test, 47 other -> 9 validation. b: 8, 24 -> 5. c: 7, 21 -> 4.
    assert counts(clips, fold.train) == [38, 19, 17]
    assert counts(clips, fold.validation) == [9, 5, 4]
    assert counts(clips, fold.test) == [16, 8, 7]


def test_draw_of_holdout_equals_holdout():
    clips = clips_of(np.repeat([0, 1], [20, 20]))
    (fold,) = draw("holdout", clips)
    assert np.array_equal(fold.test, holdout(clips).test)
    assert not protocols.is_subject_disjoint("holdout")


@pytest.mark.parametrize("protocol", ["holdout", "holdout_subject", "kfold", "loso"])
def test_folds_depend_on_the_seed_only(protocol):
    clips = casme2_like()
    first, again, other = (draw(protocol, clips, seed=s) for s in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        assert one.name == two.name
        for part in one.parts:
            np.testing.assert_array_equal(one.parts[part], two.parts[part])
    assert any(
        one.validation.tolist() != two.validation.tolist()
        for one, two in zip(first, other, strict=True)
    )


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_each_part_of_holdout_has_each_class(fraction):
    clips = clips_of([0] * 3 + [1] * 5)
    fold = holdout(clips, test_fraction=fraction, validation_fraction=fraction)
    for part in fold.parts.values():
        assert set(clips.labels[part]) == {0, 1}


def test_class_with_too_few_clips_raises():
    with pytest.raises(UserError, match="Class b has 2 clips.*--classes"):
        holdout(clips_of([0] * 10 + [1] * 2))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=7, max_size=60),
    st.sampled_from(["holdout_subject", "kfold", "loso"]),
    st.integers(3, 4),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
    st.integers(0, 5),
)
def test_parts_are_subject_disjoint_for_any_clips(
    rows, protocol, folds, test_fraction, validation_fraction, seed
):
    rows = rows + [(subject, 0) for subject in range(7)]  # at least seven subjects
    clips = clips_of([label for _, label in rows], [f"s{s}" for s, _ in rows])
    drawn = draw(
        protocol,
        clips,
        folds=folds,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        seed=seed,
    )
    subject_of_clip = np.array(clips.subjects)
    for fold in drawn:
        parts = list(fold.parts.values())
        assert all(len(part) for part in parts)
        assert sorted(np.concatenate(parts)) == list(range(len(clips)))
        subjects = [set(subject_of_clip[part]) for part in parts]
        assert not any(subjects[i] & subjects[j] for i, j in [(0, 1), (0, 2), (1, 2)])
    if protocol != "holdout_subject":  # each clip is tested once
        tested = np.concatenate([fold.test for fold in drawn])
        assert sorted(tested) == list(range(len(clips)))


def test_fold_that_leaves_one_subject_raises():
    clips = clips_of([0, 1] * 13, ["s0"] * 20 + [f"s{n}" for n in range(1, 7)])
    with pytest.raises(UserError, match="leaves one subject.*more --folds"):
        draw("kfold", clips, folds=2)


def test_loso_has_one_fold_per_subject():
    clips = casme2_like()
    drawn = draw("loso", clips)
    assert [fold.name for fold in drawn] == [f"sub{n + 1:02d}" for n in range(26)]
    for fold in drawn:
        assert {clips.subjects[i] for i in fold.test} == {fold.name}


@pytest.mark.parametrize("seed", range(5))
def test_subject_disjoint_parts_are_approximately_stratified(seed):
    clips = casme2_like(seed)
    total = np.array(counts(clips, np.arange(123)))
    (fold,) = draw("holdout_subject", clips, seed=seed)
    np.testing.assert_allclose(counts(clips, fold.test) / total, 0.25, atol=0.12)
    for fold in draw("kfold", clips, seed=seed, folds=3):
        np.testing.assert_allclose(counts(clips, fold.test) / total, 1 / 3, atol=0.2)
    for fold in draw("loso", clips, seed=seed):
        share = len(fold.validation) / (123 - len(fold.test))
        assert share == pytest.approx(0.2, abs=0.06)


def test_class_of_one_subject_stays_in_the_training_part():
    """Otherwise no model could learn it."""
    labels = [0] * 40 + [1] * 4
    subjects = [f"s{n % 8}" for n in range(40)] + ["s3"] * 4
    clips = clips_of(labels, subjects)
    for seed in range(5):
        (fold,) = draw("holdout_subject", clips, seed=seed)
        assert 1 in clips.labels[fold.train]


@pytest.mark.parametrize(
    ("protocol", "subjects", "needs"),
    [("loso", 2, 3), ("holdout_subject", 2, 3), ("kfold", 4, 5)],
)
def test_too_few_subjects_raise(protocol, subjects, needs):
    clips = clips_of([0, 1] * 10, [f"s{n % subjects}" for n in range(20)])
    with pytest.raises(UserError, match=f"needs {needs} subjects.*have {subjects}"):
        draw(protocol, clips)
