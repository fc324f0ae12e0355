"""STCLQP against a slow second implementation, and by hand."""

import dataclasses

import numpy as np
import pytest

from meranet_jax.descriptors import k_means, specifications, stclqp, svm
from meranet_jax.descriptors.stclqp import StclqpSettings
from meranet_jax.errors import UserError

SMALL = StclqpSettings(
    stclqp_blocks=(2, 3, 1), stclqp_words=8, stclqp_kept=3, svm_c_exponents=(-2, 2)
)
PLANES = ("XY", "XT", "YT")
# (row, column) of the neighbours
CIRCLE = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def histograms(clip, settings=SMALL):
    """[rows, columns, segments, 3 planes, 3 components, 256]"""
    features = stclqp.features(clip, settings)
    return features.reshape(*settings.stclqp_blocks, 3, 3, 256)


# Patterns


def slow_patterns(grey, plane):
    """Patterns from the definition, one pixel at a time."""
    grey = grey.astype(int)
    rows, columns = {
        "XY": ((0, 1, 0), (0, 0, 1)),
        "XT": ((1, 0, 0), (0, 0, 1)),
        "YT": ((1, 0, 0), (0, 1, 0)),
    }[plane]
    shape = tuple(size - 2 for size in grey.shape)
    differences = np.zeros((*shape, 8), int)
    for place in np.ndindex(shape):
        centre = np.array(place) + 1
        for i, (row, column) in enumerate(CIRCLE):
            other = centre + row * np.array(rows) + column * np.array(columns)
            differences[(*place, i)] = grey[tuple(other)] - grey[tuple(centre)]
    mean = np.abs(differences).mean()
    found = np.zeros((3, *shape), int)
    for place in np.ndindex(shape):
        d = differences[place].tolist()
        for i in range(8):
            bits = d[i] >= 0, abs(d[i]) >= mean, d[i] * d[(i + 1) % 8] >= 0
            for component, bit in enumerate(bits):
                found[(component, *place)] += bit << i
    return found


@pytest.mark.parametrize("plane", PLANES)
def test_patterns_equal_a_slow_implementation(plane):
    grey = noise(5, 7, 6) // 16  # differences of 0 occur
    found = stclqp.patterns(grey, plane)
    assert found.shape == (3, 3, 5, 4) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, slow_patterns(grey, plane))


def test_patterns_by_hand():
    """One pixel with the neighbours 5 6 9 / 5 5 1 / 5 5 2 around 5."""
    grey = np.array([[[5, 6, 9], [5, 5, 1], [5, 5, 2]]] * 3, np.uint8)
    # From the right, counterclockwise: -4 4 1 0 0 0 0 -3
    sign = 0b01111110
    magnitude = 0b10000011  # the mean is 12 / 8 = 1.5
    # Products -16 4 0 0 0 0 0 12
    orientation = 0b11111110
    found = stclqp.patterns(grey, "XY")[:, 0, 0, 0]
    assert found.tolist() == [sign, magnitude, orientation]


# Histograms


def test_there_are_57600_features():
    settings = StclqpSettings()
    # 5 x 5 x 1 blocks x 3 planes x 3 components = 225 histograms of 256 patterns
    assert settings.num_histograms == 225
    assert settings.num_features == 225 * 256 == 57_600
    assert settings.num_word_features == 225 * 32 == 7_200
    features = stclqp.features(noise(16, 20, 20, 3), settings)
    assert features.shape == (57_600,) and features.dtype == np.float32


def test_each_histogram_sums_to_one():
    np.testing.assert_allclose(histograms(noise(5, 13, 15, 3)).sum(-1), 1, rtol=1e-5)


def test_histograms_count_the_patterns_of_blocks():
    clip = noise(6, 10, 14)
    found = histograms(clip)
    for p, plane in enumerate(PLANES):
        patterns = slow_patterns(clip, plane)
        for row, column, component in np.ndindex(2, 3, 3):
            # 8 rows in two blocks, 12 columns in three
            block = patterns[component, :, 4 * row :, 4 * column :][:, :4, :4]
            counts = np.bincount(block.ravel(), minlength=256)
            np.testing.assert_allclose(
                found[row, column, 0, p, component], counts / block.size, rtol=1e-6
            )


def test_brightness_changes_nothing():
    clip = noise(6, 12, 14, 3) // 4
    expected = stclqp.features(clip, SMALL)
    np.testing.assert_array_equal(stclqp.features(clip + 77, SMALL), expected)
    grey = noise(6, 12, 14) // 4
    np.testing.assert_array_equal(
        stclqp.features(grey * 3, SMALL), stclqp.features(grey, SMALL)
    )


def test_a_mirrored_clip_has_mirrored_features():
    clip = noise(6, 12, 14)
    plain = histograms(clip)
    mirrored = histograms(clip[:, :, ::-1])[:, ::-1]  # columns of blocks

    def permute(pattern, of_bit):
        return sum((pattern >> of_bit(i) % 8 & 1) << i for i in range(8))

    # Neighbour i is mirrored to 4 - i, the pair of i and i + 1 to that of 3 - i.
    neighbour = [permute(pattern, lambda i: 4 - i) for pattern in range(256)]
    pair = [permute(pattern, lambda i: 3 - i) for pattern in range(256)]
    for plane in (0, 1):  # columns of XY and XT are X
        for component, of in enumerate((neighbour, neighbour, pair)):
            np.testing.assert_array_equal(
                mirrored[..., plane, component, :], plain[..., plane, component, of]
            )
    np.testing.assert_array_equal(mirrored[..., 2, :, :], plain[..., 2, :, :])


def test_a_flat_clip_has_all_bits():
    found = histograms(np.full((4, 8, 8), 9, np.uint8))
    assert (found[..., 255] == 1).all()


def test_features_of_all_clips_are_those_of_each():
    clips = noise(4, 5, 12, 14, 3)
    found = specifications.STCLQP.features(list(clips), SMALL, 2)
    expected = [stclqp.features(clip, SMALL) for clip in clips]
    np.testing.assert_array_equal(found, expected)


# Words


def generated(seed=0, subjects=6, repetitions=2):
    """Histograms of clips of three classes, of which some patterns are more frequent.

    Returns features [N, 1 block x 3 planes x 3 components x 256], labels, subjects.
    """
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(3), subjects * repetitions)
    counts = rng.poisson(4, (len(labels), 9, 256)).astype(np.float32)
    for label in range(3):
        counts[labels == label, :, label * 20 : label * 20 + 8] += 4
    frequencies = counts / counts.sum(-1, keepdims=True)
    groups = np.repeat(np.arange(subjects), 3 * repetitions)
    return frequencies.reshape(len(labels), -1), labels, groups


ONE = StclqpSettings(
    stclqp_blocks=(1, 1, 1), stclqp_words=16, stclqp_kept=5, svm_c_exponents=(-2, 2)
)


def slow_words(features, labels, settings, seed):
    """The words from the definition, with the same k-means."""
    bits = np.array([[n >> (7 - b) & 1 for b in range(8)] for n in range(256)], float)
    clips = features.reshape(len(labels), -1, 3, 3, 256).astype(float)
    result = np.full((2, 3, 256), -1)
    for codebook, planes in enumerate([[0], [1, 2]]):
        for component in range(3):
            counts = sum(clips[:, :, p, component].sum((0, 1)) for p in planes)
            centres = k_means.cluster(bits, counts, settings.stclqp_words, seed)
            word = k_means.assign(bits, centres)
            ratios = np.zeros(settings.stclqp_words)
            for w in range(settings.stclqp_words):
                for p in planes:
                    for block in range(clips.shape[1]):
                        x = clips[:, block, p, component, word == w].sum(-1)
                        between = within = 0.0
                        for label in set(labels.tolist()):
                            own = x[labels == label]
                            between += len(own) * (own.mean() - x.mean()) ** 2
                            within += ((own - own.mean()) ** 2).sum()
                        ratios[w] += between / within
            kept = sorted(np.argsort(-ratios)[: settings.stclqp_kept])
            for number, w in enumerate(kept):
                result[codebook, component, word == w] = number
    return result


def test_words_equal_a_slow_implementation():
    features, labels, _ = generated()
    found = stclqp.learn_words(features, labels, ONE, 7)
    assert found.shape == (2, 3, 256) and found.dtype == np.int32
    np.testing.assert_array_equal(found, slow_words(features, labels, ONE, 7))


def test_words_that_differ_between_classes_are_kept():
    features, labels, _ = generated()
    learned = stclqp.learn_words(features, labels, ONE, 0)
    differing = np.zeros(256, bool)
    for label in range(3):
        differing[label * 20 : label * 20 + 8] = True
    kept = (learned >= 0).mean((0, 1))
    assert kept[differing].mean() > kept[~differing].mean() + 0.2


def test_patterns_that_do_not_occur_get_the_nearest_word():
    counts = np.zeros(256)
    counts[[0, 255]] = 5, 3
    word = stclqp.quantise(counts, 4, 0)
    assert len(set(word)) == 2
    assert word[0b00000001] == word[0b10100000] == word[0] != word[255]
    assert word[0b11111100] == word[255]


def test_fisher_ratio_by_hand():
    values = np.array([[1.0, 5.0], [3.0, 5.0], [6.0, 5.0]])
    # Means 2 and 6, of all 10 / 3: between 2 x (4/3)^2 + (8/3)^2 = 32/3; within 2
    found = stclqp.fisher_ratios(values, np.array([0, 0, 1]))
    np.testing.assert_allclose(found, [16 / 3, 0], atol=1e-9)


def test_word_features_add_the_patterns_of_a_word():
    features, labels, _ = generated()
    learned = stclqp.learn_words(features, labels, ONE, 0)
    found = stclqp.word_features(features, learned, 5).reshape(len(labels), 3, 3, 5)
    clips = features.reshape(len(labels), 3, 3, 256)
    for plane, component, word in np.ndindex(3, 3, 5):
        members = learned[min(plane, 1), component] == word
        np.testing.assert_allclose(
            found[:, plane, component, word],
            clips[:, plane, component, members].sum(-1),
            rtol=1e-5,
            atol=1e-7,
        )


# The classifier


def test_learns_and_predicts():
    features, labels, groups = generated()
    weights, info = stclqp.fit(ONE, features, labels, groups, seed=0, num_classes=3)
    found = stclqp.probabilities(weights, generated(1)[0])
    assert (found.argmax(-1) == labels).mean() > 0.9
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
    assert info["inner_uar"] > 0.9
    shapes = {name: value.shape for name, value in weights.items()}
    assert shapes.pop("words") == (2, 3, 256)
    assert shapes == svm.weight_shapes(45, 3)  # 9 histograms x 5 words


def test_words_of_inner_folds_are_learned_without_their_held_out_clips(monkeypatch):
    """Other histograms of a clip change the words of all folds that learn from it."""
    features, labels, groups = generated()
    learned, learn = [], stclqp.learn_words

    def watch(*arguments):
        learned.append(learn(*arguments))
        return learned[-1]

    monkeypatch.setattr(stclqp, "learn_words", watch)

    settings = dataclasses.replace(ONE, svm_c_exponents=(0, 0))

    def words_of_folds(features):
        learned.clear()
        stclqp.fit(settings, features, labels, groups, seed=0, num_classes=3)
        return list(learned)  # those of the complete part, then of the inner folds

    before = words_of_folds(features)
    inner = svm.inner_folds(labels, groups, 0)
    assert len(before) == 1 + len(inner) > 2
    _, held_out = inner[1]
    histograms = features[held_out].reshape(-1, 9, 256)
    features[held_out] = histograms[..., ::-1].reshape(len(held_out), -1)
    after = words_of_folds(features)
    same = [np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    assert same == [number == 2 for number in range(len(before))]


def test_clips_of_one_class_keep_some_words():
    features, labels, groups = generated()
    one = labels == 2
    weights, info = stclqp.fit(
        ONE, features[one], labels[one], groups[one], seed=0, num_classes=3
    )
    assert info["fallback"] and weights["words"].max() == 4
    assert (stclqp.probabilities(weights, features)[:, 2] == 1).all()


def test_equal_seeds_give_equal_bits():
    data = generated()
    settings = dataclasses.replace(ONE, stclqp_words=6, svm_c_exponents=(0, 0))
    first, again = (
        stclqp.fit(settings, *data, seed=3, num_classes=3)[0] for _ in range(2)
    )
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])


# Refusals


def test_small_clips_are_refused():
    stclqp.check_size(StclqpSettings(), (3, 7, 7, 3))
    for shape, flag in (
        ((2, 9, 9), "frames"),
        ((3, 6, 9), "size"),
        ((3, 9, 6), "size"),
    ):
        with pytest.raises(UserError, match=f"STCLQP.*Raise --{flag}"):
            stclqp.check_size(StclqpSettings(), shape)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stclqp_blocks", (5, 5)),
        ("stclqp_words", 0),
        ("stclqp_words", 257),
        ("stclqp_kept", 0),
        ("stclqp_kept", 65),
    ],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(UserError, match=f"--{field}"):
        StclqpSettings(**{field: value})
