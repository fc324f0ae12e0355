"""STCLQP: quantised local patterns of sign, magnitude and orientation on three planes.

X. Huang, G. Zhao, X. Hong, W. Zheng and M. Pietikäinen, "Spontaneous facial
micro-expression analysis using spatiotemporal completed local quantized patterns",
Neurocomputing 175, 2016, 564-578. There is no public code, so that this is a reading
of the abstract, and nothing but its structure can be compared. Reports name it "STCLQP,
our reading".

[V] marks what was read in the abstract, [C] what this module chose:

- [V] LBP-TOP is extended: on each of the three orthogonal planes there are a sign, a
  magnitude and an orientation component. Patterns are quantised by codebooks, which are
  selected for discrimination, separately for appearance (XY) and time (XT, YT).
  Histograms are fused.
- [C] 16 frames from onset to offset by the temporal interpolation model (TIM).
- [C] The 8 neighbours of a pixel are those of the 3 x 3 square around it, without
  interpolation. d_i is neighbour i minus the pixel, in grey levels. Bit i of the sign
  is d_i >= 0; of the magnitude, whether |d_i| is at least the mean of |d| over all
  pixels and neighbours of this plane in the clip; of the orientation, whether
  d_i d_(i+1) >= 0, where neighbour 8 is neighbour 0.
- [C] Pixels at the border of the volume have no patterns. 5 x 5 x 1 blocks divide the
  others, so that neighbourhoods cross the borders of blocks.
- [C] The features of a clip are the histograms of all 256 patterns: 25 blocks x 3
  planes x 3 components x 256 = 57,600 numbers. They depend on no other clip. Everything
  that is learned belongs to a fold, from its training and its validation part:
- [C] k-means with 64 words on the bits of the patterns, which are weighted by how
  often they occur, gives one codebook for each component, for appearance and for time:
  6 codebooks.
- [C] The Fisher ratio of a word in a block and plane is the variance of its frequency
  between classes, divided by that within classes. The 32 words of a codebook with the
  largest mean ratio over blocks and planes are kept: 25 x 3 x 3 x 32 = 7,200 features
  of the SVM, which is linear. In the cross-validation that selects C, the words of each
  inner fold are learned from its own training part.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from meranet_jax.descriptors import k_means, svm
from meranet_jax.descriptors.blocks import clip_block_indices
from meranet_jax.descriptors.lbp_top import PLANES, to_grey
from meranet_jax.descriptors.settings import SvmSettings, check_counts, to_text
from meranet_jax.errors import UserError

COMPONENTS = ("sign", "magnitude", "orientation")
PATTERNS = 256

# Row and column of each neighbour, counterclockwise from the direction of increasing
# columns; rows increase downwards.
_NEIGHBOURS = (
    *((0, 1), (-1, 1), (-1, 0), (-1, -1)),
    *((0, -1), (1, -1), (1, 0), (1, 1)),
)

# Codebook of each plane: appearance or time.
_CODEBOOKS = (0, 1, 1)

# Added to the variance within classes, which is zero with one clip of each.
_MINIMUM_VARIANCE = 1e-12


@dataclasses.dataclass(frozen=True)
class StclqpSettings(SvmSettings):
    """Settings of STCLQP with a linear SVM.

    Raises:
      UserError: if a value is out of its range.
    """

    stclqp_blocks: tuple[int, int, int] = (5, 5, 1)
    """Blocks of a clip: rows, columns, time segments."""
    stclqp_words: int = 64
    """Words to which the 256 patterns are reduced by k-means."""
    stclqp_kept: int = 32
    """Words with the largest Fisher ratios, which the SVM gets."""

    def __post_init__(self):
        """Raises UserError for values out of range."""
        super().__post_init__()
        check_counts(self, "stclqp_blocks", 3)
        if not 1 <= self.stclqp_words <= PATTERNS:
            raise UserError(
                f"--stclqp_words={self.stclqp_words} must be from 1 to {PATTERNS}."
            )
        if not 1 <= self.stclqp_kept <= self.stclqp_words:
            raise UserError(
                f"--stclqp_kept={self.stclqp_kept} must be from 1 to the "
                f"{self.stclqp_words} of --stclqp_words."
            )

    @property
    def num_histograms(self) -> int:
        """Number of histograms of a clip: blocks x 3 planes x 3 components."""
        return math.prod(self.stclqp_blocks) * len(PLANES) * len(COMPONENTS)

    @property
    def num_features(self) -> int:
        """Length of a feature vector: histograms x 256 patterns."""
        return self.num_histograms * PATTERNS

    @property
    def num_word_features(self) -> int:
        """Number of features of the SVM: histograms x words that are kept."""
        return self.num_histograms * self.stclqp_kept


def check_size(settings: StclqpSettings, shape: Sequence[int]) -> None:
    """Checks that a clip has enough pixels and frames for the blocks.

    Args:
      settings: numbers of blocks.
      shape: of the clip, T, H and W; further axes are ignored.

    Raises:
      UserError: if it has too few.
    """
    rows, columns, segments = settings.stclqp_blocks
    for flag, size, blocks in zip(
        ("frames", "size", "size"), shape[:3], (segments, rows, columns), strict=True
    ):
        if size < blocks + 2:
            raise UserError(
                f"STCLQP: --stclqp_blocks {to_text(settings.stclqp_blocks)} needs "
                f"--{flag} of at least {blocks + 2}, found {size}. Raise --{flag}, or "
                "lower --stclqp_blocks."
            )


def features(clip: np.ndarray, settings: StclqpSettings) -> np.ndarray:
    """Computes the histograms of the patterns of a clip.

    A constant added to all pixels, or a positive factor, changes nothing as long as no
    value is clipped.

    Args:
      clip: uint8 [T, H, W, 3], RGB, or [T, H, W], grey.
      settings: numbers of blocks.

    Returns:
      float32 [F], F = rows x columns x segments x 3 planes x 3 components x 256
      patterns, in this order; the planes are XY, XT, YT. Each histogram sums to one.

    Raises:
      UserError: if the clip is too small for the blocks.
    """
    grey = to_grey(clip)
    check_size(settings, grey.shape)
    inner = [size - 2 for size in grey.shape]
    first_bins = clip_block_indices(inner, settings.stclqp_blocks) * PATTERNS
    number = math.prod(settings.stclqp_blocks)
    counts = np.stack(
        [
            np.bincount((first_bins + pattern).ravel(), minlength=number * PATTERNS)
            for plane in PLANES
            for pattern in patterns(grey, plane)
        ]
    ).reshape(-1, number, PATTERNS)  # [planes x components, blocks, 256]
    frequencies = counts / counts.sum(-1, keepdims=True)
    return frequencies.swapaxes(0, 1).astype(np.float32).ravel()


def patterns(grey: np.ndarray, plane: str) -> np.ndarray:
    """Computes the patterns of all pixels on the slices of one plane.

    Args:
      grey: uint8 [T, H, W].
      plane: XY (rows Y, columns X), XT (rows T, columns X) or YT (rows T, columns Y).

    Returns:
      uint8 [3, T - 2, H - 2, W - 2]: sign, magnitude and orientation. Bit i is that of
      neighbour i, at 45 degrees x i from the direction of increasing columns towards
      decreasing rows.
    """
    row_axis, column_axis = PLANES[plane]
    signed = grey.astype(np.int16)

    def shifted(row: int, column: int) -> np.ndarray:
        offset = [0, 0, 0]
        offset[row_axis], offset[column_axis] = row, column
        return signed[
            tuple(
                slice(1 + o, size - 1 + o)
                for o, size in zip(offset, grey.shape, strict=True)
            )
        ]

    centre = shifted(0, 0)
    differences = np.stack([shifted(*place) - centre for place in _NEIGHBOURS])
    sizes = np.abs(differences)
    # The smallest integer that is not below the mean.
    threshold = -(-int(sizes.sum(dtype=np.int64)) // sizes.size)
    signs = np.sign(differences)
    bits = np.stack(
        [differences >= 0, sizes >= threshold, signs * np.roll(signs, -1, 0) >= 0]
    )  # [3, 8, T - 2, H - 2, W - 2]
    return np.packbits(bits, axis=1, bitorder="little")[:, 0]


def fit(
    settings: StclqpSettings,
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int,
    num_classes: int,
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Learns the words of a training part, and trains the SVM on them.

    Args:
      settings: numbers of words and values of C.
      features: float32 [N, F] of the training part; see ``features``.
      labels: int [N].
      groups: [N] subjects.
      seed: of k-means and of the inner folds.
      num_classes: number of classes.

    Returns:
      The weights and what was selected, as ``svm.fit`` does; the weights include
      ``words``, see ``learn_words``.
    """

    def inner_features(train: np.ndarray) -> np.ndarray:
        learned = learn_words(features[train], labels[train], settings, seed)
        return word_features(features, learned, settings.stclqp_kept)

    learned = learn_words(features, labels, settings, seed)
    weights, info = svm.fit(
        word_features(features, learned, settings.stclqp_kept),
        labels,
        groups,
        seed,
        num_classes,
        c_exponents=settings.svm_c_exponents,
        inner_features=inner_features,
    )
    return weights | {"words": learned}, info


def probabilities(weights: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Computes the probability of each class.

    Args:
      weights: see ``fit``.
      features: float32 [N, F]; see ``features``.

    Returns:
      float32 [N, C]; see ``svm.probabilities``.
    """
    histograms = features.shape[1] // PATTERNS
    kept = len(weights["mean"]) // histograms
    svm_weights = {name: value for name, value in weights.items() if name != "words"}
    return svm.probabilities(
        svm_weights, word_features(features, weights["words"], kept)
    )


def learn_words(
    features: np.ndarray, labels: np.ndarray, settings: StclqpSettings, seed: int
) -> np.ndarray:
    """Learns which patterns are one word, and which words are kept.

    Args:
      features: float32 [N, F] of a training part.
      labels: int [N].
      settings: numbers of words.
      seed: of k-means.

    Returns:
      int32 [2, 3, 256]: for appearance and for time, for each component, the word of
      each pattern, from 0 to the number of kept words minus 1; -1 if its word is not
      kept.
    """
    histograms = _histograms(features)
    result = np.full((2, len(COMPONENTS), PATTERNS), -1, np.int32)
    for codebook in range(2):
        planes = [p for p, number in enumerate(_CODEBOOKS) if number == codebook]
        for component in range(len(COMPONENTS)):
            # [N, blocks, planes, 256]
            frequencies = histograms[:, :, planes, component]
            word = quantise(
                frequencies.sum((0, 1, 2), dtype=np.float64),
                settings.stclqp_words,
                seed,
            )
            members = np.eye(settings.stclqp_words, dtype=np.float32)[word]
            ratios = fisher_ratios(frequencies @ members, labels).mean((0, 1))
            best = np.argsort(-ratios, kind="stable")[: settings.stclqp_kept]
            numbers = np.full(settings.stclqp_words, -1, np.int32)
            numbers[np.sort(best)] = np.arange(len(best))
            result[codebook, component] = numbers[word]
    return result


def quantise(counts: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Divides the 256 patterns into words by k-means on their bits.

    Args:
      counts: weight of each pattern, [256]. Patterns with a weight of 0 do not change
        the words; they get the nearest one.
      number: of words; those beyond the number of patterns that occur are empty.
      seed: of the starts.

    Returns:
      int [256], the word of each pattern, below ``number``.
    """
    bits = np.unpackbits(np.arange(PATTERNS, dtype=np.uint8)[:, None], axis=1)
    points = bits.astype(np.float64)
    occurring = counts > 0
    centres = k_means.cluster(
        points[occurring],
        counts[occurring],
        min(number, int(occurring.sum())),
        seed,
    )
    return k_means.assign(points, centres)


def fisher_ratios(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Computes the variance between classes divided by that within classes.

    Args:
      values: [N, ...].
      labels: int [N].

    Returns:
      float64 [...]; 0 for values that do not vary.
    """
    mean = values.mean(0, dtype=np.float64)
    between, within = np.zeros_like(mean), np.full_like(mean, _MINIMUM_VARIANCE)
    for label in np.unique(labels):
        members = values[labels == label].astype(np.float64)
        class_mean = members.mean(0)
        between += len(members) * (class_mean - mean) ** 2
        within += ((members - class_mean) ** 2).sum(0)
    return between / within


def word_features(features: np.ndarray, learned: np.ndarray, kept: int) -> np.ndarray:
    """Computes the histograms of the words that are kept.

    Args:
      features: float32 [N, F]; see ``features``.
      learned: see ``learn_words``.
      kept: number of words that are kept.

    Returns:
      float32 [N, blocks x 3 planes x 3 components x kept], in this order.
    """
    histograms = _histograms(features)
    result = np.empty((*histograms.shape[:-1], kept), np.float32)
    # The last column gets the words that are not kept.
    members = np.eye(kept + 1, dtype=np.float32)[learned][..., :-1]  # [2, 3, 256, kept]
    for plane, codebook in enumerate(_CODEBOOKS):
        for component in range(len(COMPONENTS)):
            result[:, :, plane, component] = (
                histograms[:, :, plane, component] @ members[codebook, component]
            )
    return result.reshape(len(features), -1)


def _histograms(features: np.ndarray) -> np.ndarray:
    """Returns features as [N, blocks, 3 planes, 3 components, 256]."""
    shape = (len(features), -1, len(PLANES), len(COMPONENTS), PATTERNS)
    return np.asarray(features, np.float32).reshape(shape)
