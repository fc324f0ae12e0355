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
    """26 subjects of very different sizes and classes, 123 clips in three classes."""
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet([0.5] * 26)
    subjects = [f"sub{n + 1:02d}" for n in range(26)]
    subjects += [f"sub{n + 1:02d}" for n in rng.choice(26, 97, p=chances)]
    labels = rng.choice(3, 123, p=[0.51, 0.26, 0.23])
    return clips_of(labels, subjects)


def counts(clips, part):
    return np.bincount(clips.labels[part], minlength=len(clips.classes)).tolist()


def test_the_papers_parts_are_stratified_disjoint_and_whole():
    clips = clips_of(np.repeat([0, 1, 2], [63, 32, 28]))  # CASME II
    fold = holdout(clips)
    assert sorted(np.concatenate(list(fold.parts.values()))) == list(range(123))
    # a: 63 -> 16 test, 47 left -> 9 validation. b: 8, 24 -> 5. c: 7, 21 -> 4.
    assert counts(clips, fold.train) == [38, 19, 17]
    assert counts(clips, fold.validation) == [9, 5, 4]
    assert counts(clips, fold.test) == [16, 8, 7]


def test_the_papers_split_is_that_of_the_protocol():
    clips = clips_of(np.repeat([0, 1], [20, 20]))
    (fold,) = draw("holdout", clips)
    assert np.array_equal(fold.test, holdout(clips).test)
    assert not protocols.is_subject_disjoint("holdout")


@pytest.mark.parametrize("protocol", ["holdout", "holdout_subject", "kfold", "loso"])
def test_a_split_hangs_on_its_seed_alone(protocol):
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
def test_each_part_of_the_paper_gets_a_clip_of_each_class(fraction):
    clips = clips_of([0] * 3 + [1] * 5)
    fold = holdout(clips, test_fraction=fraction, validation_fraction=fraction)
    for part in fold.parts.values():
        assert set(clips.labels[part]) == {0, 1}


def test_a_class_too_small_to_split_is_named():
    with pytest.raises(UserError, match="b has 2 clips.*--classes"):
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
def test_parts_are_of_whole_subjects_whatever_the_clips(
    rows, protocol, folds, test_fraction, validation_fraction, seed
):
    rows = rows + [(subject, 0) for subject in range(7)]  # seven subjects at least
    clips = clips_of([label for _, label in rows], [f"s{s}" for s, _ in rows])
    drawn = draw(
        protocol,
        clips,
        folds=folds,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        seed=seed,
    )
    whose = np.array(clips.subjects)
    for fold in drawn:
        parts = list(fold.parts.values())
        assert all(len(part) for part in parts)
        assert sorted(np.concatenate(parts)) == list(range(len(clips)))
        subjects = [set(whose[part]) for part in parts]
        assert not any(subjects[i] & subjects[j] for i, j in [(0, 1), (0, 2), (1, 2)])
    if protocol != "holdout_subject":  # each clip is tested once
        tested = np.concatenate([fold.test for fold in drawn])
        assert sorted(tested) == list(range(len(clips)))


def test_two_folds_of_which_one_is_a_single_subject_are_refused():
    clips = clips_of([0, 1] * 13, ["s0"] * 20 + [f"s{n}" for n in range(1, 7)])
    with pytest.raises(UserError, match="leaves one subject.*more --folds"):
        draw("kfold", clips, folds=2)


def test_loso_has_a_fold_for_each_subject_named_after_it():
    clips = casme2_like()
    drawn = draw("loso", clips)
    assert [fold.name for fold in drawn] == [f"sub{n + 1:02d}" for n in range(26)]
    for fold in drawn:
        assert {clips.subjects[i] for i in fold.test} == {fold.name}


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_whole_subjects_are_as_stratified_as_they_can_be(seed):
    clips = casme2_like(seed)
    whole = np.array(counts(clips, np.arange(123)))
    (fold,) = draw("holdout_subject", clips, seed=seed)
    np.testing.assert_allclose(counts(clips, fold.test) / whole, 0.25, atol=0.12)
    for fold in draw("kfold", clips, seed=seed, folds=3):
        np.testing.assert_allclose(counts(clips, fold.test) / whole, 1 / 3, atol=0.2)
    for fold in draw("loso", clips, seed=seed):
        share = len(fold.validation) / (123 - len(fold.test))
        assert share == pytest.approx(0.2, abs=0.06)


def test_a_class_of_one_subject_stays_in_the_training_part():
    """Else nothing could learn it."""
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
def test_too_few_subjects_are_told(protocol, subjects, needs):
    clips = clips_of([0, 1] * 10, [f"s{n % subjects}" for n in range(20)])
    with pytest.raises(UserError, match=f"needs {needs} subjects.*of {subjects}"):
        draw(protocol, clips)
