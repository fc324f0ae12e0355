"""The SVM against scikit-learn's, on generated features."""

import json
import threading
import warnings

import numpy as np
import pytest
from sklearn.svm import SVC

from meranet_jax.descriptors import svm


def generated(
    seed=0, *, classes=3, subjects=8, repetitions=3, features=40, distance=4.0
):
    """Features [N, F], labels [N] and subjects [N]; classes differ by ``distance``."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(classes), subjects * repetitions)
    groups = np.repeat([f"sub{n:02}" for n in range(subjects)], classes * repetitions)
    means = np.zeros((classes, features))
    means[np.arange(classes), np.arange(classes)] = distance
    noise = rng.normal(size=(len(labels), features))
    return (noise + means[labels]).astype(np.float32), labels, groups


def fitted(data, num_classes=3, seed=0, **options):
    return svm.fit(*data, seed, num_classes, **options)


# Training and predicting


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_learns_separable_classes(classes):
    weights, info = fitted(generated(0, classes=classes, distance=8), classes)
    features, labels, _ = generated(1, classes=classes, distance=8)
    got = svm.probabilities(weights, features)
    assert got.shape == (len(labels), classes) and got.dtype == np.float32
    assert (got.argmax(-1) == labels).mean() > 0.95
    np.testing.assert_allclose(got.sum(-1), 1, atol=1e-6)
    assert info["inner_uar"] > 0.95 and info["fallback"] is None
    assert info["inner_folds"] == 5 and info["converged"]
    json.dumps(info)


def test_shapes_and_types_of_the_weights():
    weights, _ = fitted(generated())
    assert {name: value.shape for name, value in weights.items()} == {
        "mean": (40,),
        "scale": (40,),
        "coefficients": (3, 40),
        "intercepts": (3,),
        "probability_scale": (),
    }
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}


def test_weights_survive_a_file(tmp_path):
    data = generated()
    weights, _ = fitted(data)
    np.savez(tmp_path / "weights.npz", **weights)
    with np.load(tmp_path / "weights.npz") as loaded:
        again = dict(loaded)
    np.testing.assert_array_equal(
        svm.probabilities(again, data[0]), svm.probabilities(weights, data[0])
    )


def test_equals_scikit_learn_with_linear_kernel():
    features, labels, groups = generated(distance=1.5)
    weights, info = fitted((features, labels, groups))
    rows = (features - features.mean(0)) / features.std(0) / np.sqrt(40)
    for label in range(3):
        expected = SVC(kernel="linear", C=info["c"]).fit(rows, labels == label)
        np.testing.assert_allclose(
            svm.decision_values(weights, features)[:, label],
            expected.decision_function(rows),
            atol=5e-3,
        )


@pytest.mark.parametrize("features", [5, 200])
def test_solutions_of_larger_c_equal_those_solved_alone(features):
    rows, labels, _ = generated(features=features, distance=1.0)
    gram = (rows @ rows.T / features).astype(float)
    values = 2.0 ** np.arange(-5, 9)
    alphas, intercepts, _ = svm._solve(gram, labels, values, 3)
    for k in range(len(values)):
        alone = svm._solve(gram, labels, values[[k]], 3)
        np.testing.assert_allclose(
            gram @ alphas[k].T + intercepts[k],
            gram @ alone[0][0].T + alone[1][0],
            atol=5e-3,
        )


def test_standardises_on_the_clips_that_it_is_given():
    features, labels, groups = generated()
    features = features * np.logspace(-3, 3, 40) + 5
    weights, _ = fitted((features, labels, groups))
    np.testing.assert_allclose(weights["mean"], features.mean(0), rtol=1e-5)
    rows = (features - features.mean(0)) / features.std(0) / np.sqrt(40)
    np.testing.assert_allclose((rows**2).sum(-1).mean(), 1)
    np.testing.assert_allclose(
        weights["scale"], features.std(0) * np.sqrt(40), rtol=1e-5
    )
    plain, _ = fitted(generated())
    np.testing.assert_allclose(
        svm.probabilities(weights, features),
        svm.probabilities(plain, generated()[0]),
        atol=1e-4,
    )


def test_features_that_do_not_vary_do_not_matter():
    features, labels, groups = generated()
    constant = np.full((len(labels), 7), 0.1, np.float32)
    more = np.concatenate([features, constant], -1)
    weights, info = fitted((more, labels, groups))
    plain, plain_info = fitted((features, labels, groups))
    assert info["c"] == plain_info["c"]
    assert not weights["coefficients"][:, 40:].any()
    np.testing.assert_allclose(
        svm.probabilities(weights, more), svm.probabilities(plain, features), atol=1e-5
    )


# Probabilities


@pytest.mark.parametrize("distance", [0.0, 1.0, 8.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_most_probable_class_is_the_decision(distance, classes):
    weights, _ = fitted(generated(0, classes=classes, distance=distance), classes)
    features, *_ = generated(1, classes=classes, distance=distance)
    np.testing.assert_array_equal(
        svm.probabilities(weights, features).argmax(-1),
        svm.decision_values(weights, features).argmax(-1),
    )


def test_rounding_does_not_change_the_decision():
    weights = {
        "mean": np.zeros(1, np.float32),
        "scale": np.ones(1, np.float32),
        "coefficients": np.array([[1], [1 + 2**-23], [0]], np.float32),
        "intercepts": np.zeros(3, np.float32),
        "probability_scale": np.array(0.01, np.float32),
    }
    features = np.array([[1.0], [-1.0], [0.0], [1e6]])
    got = svm.probabilities(weights, features)
    assert got.argmax(-1).tolist() == [1, 2, 0, 1]
    np.testing.assert_allclose(got.sum(-1), 1, atol=1e-6)


def test_probabilities_are_calibrated_on_held_out_subjects():
    weights_far, _ = fitted(generated(0, distance=8))
    weights_none, _ = fitted(generated(0, distance=0))
    assert weights_none["probability_scale"] < weights_far["probability_scale"]
    # Without anything to learn, probabilities say so, though training clips are
    # separated.
    features, labels, _ = generated(1, distance=0)
    got = svm.probabilities(weights_none, features)
    chosen = np.log(got[np.arange(len(labels)), labels]).mean()
    assert chosen > np.log(1 / 3) - 0.1


# Choice of C


def test_selects_the_c_that_generalises():
    """A large C follows a few wrong labels, a small one does not."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 60)
    groups = np.repeat(np.arange(12), 10)
    features = rng.normal(size=(120, 60)) + np.where(labels, 0.3, -0.3)[:, None]
    wrong = rng.permutation(120)[:30]
    noisy = labels.copy()
    noisy[wrong] = 1 - noisy[wrong]
    _, info = svm.fit(features, noisy, groups, 0, 2)
    scores = dict(zip(2.0 ** np.arange(-5, 16), info["inner_uar_by_c"], strict=True))
    assert info["c"] < 1
    assert scores[info["c"]] == max(scores.values()) > scores[2.0**15] + 0.03


def test_equal_scores_select_the_smallest_c():
    _, info = fitted(generated(distance=30, features=3))
    scores = info["inner_uar_by_c"]
    assert scores[-1] == max(scores)
    assert info["c"] == 2.0 ** (-5 + scores.index(max(scores)))


def test_values_of_c_are_those_of_the_exponents():
    _, info = fitted(generated(), c_exponents=(3, 5))
    assert len(info["inner_uar_by_c"]) == 3 and info["c"] in (8, 16, 32)


def test_inner_folds_hold_out_subjects():
    _, labels, groups = generated(subjects=7)
    folds = svm.inner_folds(labels, groups, seed=0)
    assert len(folds) == 5
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(
        range(len(labels))
    )
    for train, held_out in folds:
        assert len(train) + len(held_out) == len(labels)
        assert not set(groups[train]) & set(groups[held_out])


def test_a_feature_that_names_the_subject_is_no_help():
    """What holds within subjects alone must not look well in the inner score."""
    rng = np.random.default_rng(0)
    subjects = 20
    groups = np.repeat(np.arange(subjects), 4)
    labels = np.repeat(rng.permutation(np.arange(subjects) % 2), 4)
    features = np.eye(subjects)[groups] + rng.normal(size=(80, subjects)) * 0.01
    weights, info = svm.fit(features, labels, groups, 0, 2)
    assert (svm.probabilities(weights, features).argmax(-1) == labels).all()
    assert info["inner_uar"] < 0.75


def test_same_seed_same_bits():
    data = generated(distance=1)
    first, info = fitted(data, seed=3)
    second, again = fitted(data, seed=3)
    assert info == again
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    folds = [
        [held_out.tolist() for _, held_out in svm.inner_folds(*data[1:], seed)]
        for seed in (3, 4, 2**32 - 1)
    ]
    assert folds[0] != folds[1]


def test_names_of_subjects_do_not_matter():
    features, labels, groups = generated(distance=1)
    first, _ = fitted((features, labels, groups))
    second, _ = fitted((features, labels, np.array([name[3:] for name in groups])))
    np.testing.assert_array_equal(first["coefficients"], second["coefficients"])


# Kernels


def rings(seed=0, subjects=8):
    """Two classes of two features that no line separates: a ring around a centre."""
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1], 5 * subjects)
    angles = rng.uniform(0, 2 * np.pi, len(labels))
    radius = np.where(labels, 3, 0.5) + rng.normal(size=len(labels)) * 0.2
    features = radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    return features.astype(np.float32), labels, np.repeat(np.arange(subjects), 10)


def test_kernels_by_hand():
    x, y = np.array([[1.0, 2.0]]), np.array([[3.0, 1.0], [1.0, 2.0]])
    # Squared distances 4 + 1 and 0; inner products 5 and 5
    np.testing.assert_allclose(svm.rbf(x, y, 0.2), [[np.exp(-1), 1]])
    np.testing.assert_allclose(svm.polynomial(x, y, 0.2), [[8, 8]])  # (1 + 1)^3


@pytest.mark.parametrize("kernel", [svm.rbf, svm.polynomial])
def test_a_kernel_separates_what_a_line_cannot(kernel):
    weights, info = svm.fit(*rings(0), 0, 2, kernel=kernel, gammas=(0.5, 2.0))
    features, labels, _ = rings(1)
    got = svm.probabilities(weights, features, kernel)
    assert (got.argmax(-1) == labels).mean() > 0.95 and info["inner_uar"] > 0.95
    linear, _ = svm.fit(*rings(0), 0, 2)
    assert (svm.probabilities(linear, features).argmax(-1) == labels).mean() < 0.8
    json.dumps(info)


@pytest.mark.parametrize("name", ["rbf", "poly"])
def test_kernels_equal_scikit_learn(name):
    features, labels, groups = generated(distance=1.5)
    kernel = {"rbf": svm.rbf, "poly": svm.polynomial}[name]
    weights, info = fitted((features, labels, groups), kernel=kernel, gammas=(0.5, 2))
    rows = (features - features.mean(0)) / features.std(0) / np.sqrt(40)
    options = {"kernel": name, "degree": 3, "coef0": 1, "gamma": info["gamma"]}
    for label in range(3):
        expected = SVC(C=info["c"], **options).fit(rows, labels == label)
        np.testing.assert_allclose(
            svm.decision_values(weights, features, kernel)[:, label],
            expected.decision_function(rows),
            atol=5e-3,
        )


def test_weights_of_a_kernel_are_its_support_vectors():
    weights, _ = fitted(generated(distance=8), kernel=svm.rbf)
    number = len(weights["support_vectors"])
    shapes = svm.weight_shapes(40, 3, kernel=True)
    assert {name: value.shape for name, value in weights.items()} == {
        name: tuple(number if n is None else n for n in shape)
        for name, shape in shapes.items()
    }
    assert weights["coefficients"].any(0).all()
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}


def test_one_class_has_a_support_vector_without_weight():
    features, labels, groups = generated()
    kept = labels == 1
    data = features[kept], labels[kept], groups[kept]
    weights, info = fitted(data, kernel=svm.rbf, gammas=(2.0, 4.0))
    assert info["gamma"] == 2 and info["inner_uar_by_c"] is None
    assert weights["support_vectors"].shape == (1, 40)
    assert (svm.probabilities(weights, features, svm.rbf)[:, 1] == 1).all()


def test_gamma_is_selected_on_held_out_subjects():
    gammas = (0.01, 0.5, 500.0)
    _, info = svm.fit(*rings(), 0, 2, kernel=svm.rbf, gammas=gammas, c_exponents=(0, 1))
    scores = np.array(info["inner_uar_by_c"])
    assert scores.shape == (2, 3)  # by C, then by gamma
    assert info["inner_uar"] == scores.max() and info["gamma"] == 0.5
    # A gamma that is too large remembers the clips.
    assert scores[:, 2].max() < scores[:, 1].min()


def test_equal_scores_select_the_smallest_c_then_the_smallest_gamma():
    _, info = svm.fit(*rings(), 0, 2, kernel=svm.rbf, gammas=(0.5, 1, 2))
    scores = np.array(info["inner_uar_by_c"])
    best = np.argwhere(scores == scores.max())
    assert len(best) > 1
    assert info["c"] == 2.0 ** (best[0, 0] - 5)
    assert info["gamma"] == (0.5, 1, 2)[best[0, 1]]


# Features that are learned


def test_learned_features_of_an_inner_fold_are_of_its_training_part():
    features, labels, groups = generated(distance=1)
    parts = []

    def learn(train):
        parts.append(train)
        return np.concatenate([features, features[:, :1] * 2], -1)

    _, plain = fitted((features, labels, groups))
    _, info = fitted((features, labels, groups), inner_features=learn)
    expected = [train.tolist() for train, _ in svm.inner_folds(labels, groups, 0)]
    assert [part.tolist() for part in parts] == expected
    assert info["inner_uar_by_c"] != plain["inner_uar_by_c"]


# Several threads


def test_warnings_are_ignored_until_the_last_thread_leaves():
    ignored = svm._IgnoredWarnings()
    before = list(warnings.filters)
    first, second = threading.Event(), threading.Event()

    def other():
        with ignored:
            first.set()
            second.wait(10)

    thread = threading.Thread(target=other)
    with ignored:
        thread.start()
        first.wait(10)
    warnings.warn("late", svm.ConvergenceWarning, stacklevel=1)  # not an error
    second.set()
    thread.join()
    assert warnings.filters == before


# Few clips, subjects and classes


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_class_without_clips_has_probability_zero(missing):
    features, labels, groups = generated(classes=4)
    kept = labels != missing
    weights, info = fitted((features[kept], labels[kept], groups[kept]), 4)
    got = svm.probabilities(weights, features)
    assert not got[:, missing].any()
    np.testing.assert_allclose(got.sum(-1), 1, atol=1e-6)
    assert (got.argmax(-1) == labels)[kept].mean() > 0.9
    assert info["fallback"] is None


def test_class_of_one_subject_is_missing_in_an_inner_fold():
    features, labels, groups = generated(distance=8)
    kept = (labels != 2) | (groups == "sub03")
    weights, info = fitted((features[kept], labels[kept], groups[kept]))
    assert info["fallback"] is None
    # Its three clips cannot be right: recalls of 1, 1 and 0 at best.
    assert info["inner_uar"] == pytest.approx(2 / 3)
    got = svm.probabilities(weights, features)
    assert (got.argmax(-1) == labels)[kept].all() and (got[kept] > 0).all()


def test_inner_fold_may_have_one_class_alone():
    features, labels, groups = generated(classes=2, subjects=2, distance=8)
    # sub00 has both classes, sub01 the first alone
    kept = (groups == "sub00") | (labels == 0)
    weights, info = fitted((features[kept], labels[kept], groups[kept]), 2)
    assert info["inner_folds"] == 2 and info["fallback"] is None
    assert (svm.probabilities(weights, features) > 0).all()


@pytest.mark.parametrize("exponents", [(-5, 15), (2, 4)])
def test_one_subject_has_no_inner_folds(exponents):
    data = generated(subjects=1, repetitions=5)
    weights, info = fitted(data, c_exponents=exponents)
    assert info["fallback"] == "no class is on both sides of an inner fold"
    assert info["c"] == max(1, 2.0 ** exponents[0])
    assert info["inner_uar"] is None and info["inner_folds"] == 0
    assert (svm.probabilities(weights, data[0]).argmax(-1) == data[1]).all()


def test_classes_of_one_subject_each_have_no_inner_folds():
    features, labels, _ = generated()
    _, info = fitted((features, labels, labels))
    assert info["fallback"] == "no class is on both sides of an inner fold"
    _, info = fitted((features[:3], labels[:3], np.arange(3)))
    assert info["fallback"] == "no class is on both sides of an inner fold"
    json.dumps(info)


def test_one_class_is_predicted_always():
    features, labels, groups = generated()
    kept = labels == 1
    weights, info = fitted((features[kept], labels[kept], groups[kept]))
    assert info["fallback"] == "all training clips are of one class"
    np.testing.assert_array_equal(
        svm.probabilities(weights, features), np.eye(3)[np.ones(len(labels), int)]
    )


def test_clips_that_cannot_be_separated_end_in_time(monkeypatch):
    monkeypatch.setattr(svm, "_STEPS", 500)
    features, labels, groups = generated(distance=0, features=3)
    weights, info = fitted((features, labels, groups), c_exponents=(14, 15))
    assert not info["converged"]
    assert np.isfinite(svm.probabilities(weights, features)).all()


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y, g: (x[:0], y[:0], g[:0]), "at least one clip"),
        (lambda x, y, g: (x[:, 0], y, g), r"features \[N, F\]"),
        (lambda x, y, g: (x, y[1:], g), "a label and a group"),
        (lambda x, y, g: (x, y, g[1:]), "a label and a group"),
        (lambda x, y, g: (x, y + 1, g), "labels from 0 to 2"),
        (lambda x, y, g: (x, y - 1, g), "labels from 0 to 2"),
        (lambda x, y, g: (x, y.astype(float), g), "labels from 0 to 2"),
        (lambda x, y, g: (np.where(x == x[5, 0], np.nan, x), y, g), "clip 5 and 0"),
    ],
)
def test_nonsense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        svm.fit(*change(*generated()), 0, 3)


def test_exponents_and_folds_out_of_range_are_refused():
    with pytest.raises(ValueError, match="ascending"):
        fitted(generated(), c_exponents=(2, 1))
    with pytest.raises(ValueError, match="2 folds"):
        fitted(generated(), folds=1)


def test_features_of_another_length_are_refused():
    weights, _ = fitted(generated())
    with pytest.raises(ValueError, match=r"expected features \[N, 40\]"):
        svm.probabilities(weights, np.zeros((2, 41)))
