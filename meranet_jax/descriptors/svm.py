"""A one-vs-rest SVM for features of clips, with C and gamma selected over subjects.

Sources of micro-expression baselines seldom say how their SVM was tuned. All that
follows is therefore the choice of this module [C]:

- Features are standardised on the training part, then divided by the square root of
  the number of features that vary. A clip then has a squared norm of about one, so
  that the values of C mean the same for descriptors of any length. Without the
  division 500 generated clips of 4,425 features have the same SVM, with a hard margin,
  for every C from 2^-10, and nothing is left to select from 2^-5 on.
- C maximises the unweighted average recall of the predictions on held-out training
  subjects, pooled over the folds of a grouped, stratified cross-validation. Ties
  select the smallest C. Each fold standardises on its own training subjects.
- The gamma of a kernel is selected together with C; of several with the same C, ties
  select the smallest gamma.
- One SVM with hinge loss for each class against the rest, without class weights. Two
  classes share one SVM, with opposite signs.
- Probabilities are softmax(s f) of the decision values f. One scale s > 0 serves all
  classes, so that the most probable class is the one that the SVM decides for. It
  minimises the log loss of the held-out decision values at the selected C.

There are many more features than clips, so SVMs are solved in the dual from the Gram
matrix (LIBSVM). The weights of a linear SVM are computed from the solution; those of an
SVM with another kernel contain its support vectors. All functions are thread-safe.
"""

import threading
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import sklearn
from scipy import optimize, special
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC

# Maps rows [N, F], others [M, F] and gamma to the matrix of the kernel, [N, M].
Kernel = Callable[[np.ndarray, np.ndarray, float], np.ndarray]

# Degree of the polynomial kernel.
DEGREE = 3
# Inner folds, if there are as many subjects.
FOLDS = 5
# Without cross-validation: C, gamma and the scale of the decision values.
_FALLBACK_C = 1.0
_FALLBACK_GAMMA = 1.0
_FALLBACK_SCALE = 1.0
# The range of the scale. Held-out clips that are all right would want it infinite.
_SCALES = (0.01, 20.0)
# Steps of LIBSVM. Clips with more features than there are clips need some thousands;
# clips that cannot be separated would need millions at the largest C.
_STEPS = 20_000
# Checks of scikit-learn, which take longer than LIBSVM for a hundred clips.
_UNCHECKED = {"assume_finite": True, "skip_parameter_validation": True}


class _IgnoredWarnings:
    """Ignores two warnings of scikit-learn while a thread is in the block.

    Filters belong to the process: the first thread that enters sets them, and the last
    one that leaves restores those before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore", ConvergenceWarning)
                # Classes with fewer clips than folds are common here.
                text = "The least populated class"
                warnings.filterwarnings("ignore", text, UserWarning)
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


_IGNORED = _IgnoredWarnings()


def rbf(rows: np.ndarray, others: np.ndarray, gamma: float) -> np.ndarray:
    """Computes the kernel exp(-gamma |x - y|^2).

    Args:
      rows: [N, F].
      others: [M, F].
      gamma: positive.

    Returns:
      [N, M].
    """
    squares = (rows**2).sum(-1)[:, None] + (others**2).sum(-1) - 2 * rows @ others.T
    # Rounding makes some distances negative.
    return np.exp(-gamma * np.maximum(squares, 0))


def polynomial(rows: np.ndarray, others: np.ndarray, gamma: float) -> np.ndarray:
    """Computes the kernel (gamma x y + 1)^3; see ``rbf``."""
    return (gamma * rows @ others.T + 1) ** DEGREE


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    seed: int,
    num_classes: int,
    *,
    c_exponents: tuple[int, int] = (-5, 15),
    folds: int = FOLDS,
    kernel: Kernel | None = None,
    gammas: Sequence[float] = (1.0,),
    inner_features: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Trains the SVM on the clips of a training part.

    C and gamma are 1 (or the nearest allowed value) and not selected where
    cross-validation is impossible: with clips of one subject, or if no class is on both
    sides of an inner fold. If all clips are of one class, this class has probability 1.
    A held-out clip counts as wrong if the training part of its inner fold has no clip
    of its class.

    Args:
      features: float [N, F] of the training part.
      labels: int [N], classes from 0 to ``num_classes`` - 1; some may have no clip.
      groups: N subjects; no subject is on both sides of an inner fold.
      seed: draws the inner folds.
      num_classes: number of classes.
      c_exponents: first and last exponent of the values of C, powers of two.
      folds: number of inner folds; fewer if there are fewer subjects.
      kernel: ``rbf`` or ``polynomial``; None for a linear SVM.
      gammas: ascending values of the kernel's gamma.
      inner_features: where features are learned: maps the indices of the training part
        of an inner fold to float [N, F], features of all N clips learned on this part.
        By default they are ``features``.

    Returns:
      ``weights``, what ``probabilities`` needs, arrays of float32: ``mean`` [F] and
      ``scale`` [F] of the features, ``coefficients`` [C, F], ``intercepts`` [C] (minus
      infinity for classes without clips), ``probability_scale`` []. With a kernel,
      ``coefficients`` are [C, S], and there are ``support_vectors`` [S, F],
      standardised, and ``gamma`` [].
      ``info``, which JSON can hold: ``c``, ``inner_folds``, ``inner_uar`` (of the
      selected C), ``inner_uar_by_c``, ``converged`` (of the SVMs at the selected C on
      all clips; large values of C on clips that cannot be separated may not), and
      ``fallback``, the reason why C was not selected, else None. With a kernel there is
      ``gamma``, and ``inner_uar_by_c`` has a list by gamma for each C.

    Raises:
      ValueError: if shapes do not fit each other, a label is no class, or a feature is
        not finite.
    """
    features, labels, groups = _checked(features, labels, groups, num_classes)
    first, last = c_exponents
    if first > last or folds < 2:
        raise ValueError(
            f"expected ascending exponents and at least 2 folds, found {c_exponents} "
            f"and {folds}"
        )
    values = 2.0 ** np.arange(first, last + 1)  # [K]
    inner = inner_folds(labels, groups, seed, folds)
    scores = None
    scale = _FALLBACK_SCALE
    if len(np.unique(labels)) == 1:
        fallback = "all training clips are of one class"
    elif not any(np.isin(labels[out], labels[train]).any() for train, out in inner):
        fallback = "no class is on both sides of an inner fold"
    else:
        fallback = None
    if kernel is None:
        gammas = (_FALLBACK_GAMMA,)
    if fallback:
        c_index = int(np.argmin(np.abs(np.log2(values / _FALLBACK_C))))
        gamma_index = int(
            np.argmin(np.abs(np.log2(np.divide(gammas, _FALLBACK_GAMMA))))
        )
    else:
        held_out = _held_out_decisions(
            features, labels, inner, values, num_classes, kernel, gammas, inner_features
        )  # [K, G, N, C]
        # Equal scores may differ in their last bit, by the order of classes.
        scores = np.round(
            [[_uar(labels, each.argmax(-1)) for each in row] for row in held_out], 12
        )  # [K, G]
        c_index, gamma_index = divmod(int(scores.argmax()), len(gammas))
        scale = _probability_scale(held_out[c_index, gamma_index], labels)

    mean, spread = _standardisation(features)
    rows = (features - mean) / spread
    gamma = gammas[gamma_index]
    alphas, intercepts, converged = _solve(
        _gram(rows, rows, kernel, gamma), labels, values[[c_index]], num_classes
    )
    weights = {
        "mean": mean,
        "scale": spread,
        "intercepts": intercepts[0],
        "probability_scale": np.array(scale),
    }
    info = {
        "c": float(values[c_index]),
        "inner_folds": 0 if fallback else len(inner),
        "inner_uar": None if scores is None else float(scores[c_index, gamma_index]),
        "inner_uar_by_c": None if scores is None else scores.tolist(),
        "converged": converged,
        "fallback": fallback,
    }
    if kernel is None:
        weights["coefficients"] = alphas[0] @ rows
        if scores is not None:
            info["inner_uar_by_c"] = scores[:, 0].tolist()
    else:
        used = np.flatnonzero(alphas[0].any(0))
        if not len(used):  # arrays without elements cannot be saved
            used = np.array([0])
        weights["support_vectors"] = rows[used]
        weights["coefficients"] = alphas[0][:, used]
        weights["gamma"] = np.array(gamma)
        info["gamma"] = float(gamma)
    return {name: value.astype(np.float32) for name, value in weights.items()}, info


def weight_shapes(
    num_features: int, num_classes: int, *, kernel: bool = False
) -> dict[str, tuple[int | None, ...]]:
    """Returns the shapes of the weights of ``fit``; None stands for any number.

    Args:
      num_features: F.
      num_classes: C.
      kernel: whether the SVM has a kernel.
    """
    shapes: dict[str, tuple[int | None, ...]] = {
        "mean": (num_features,),
        "scale": (num_features,),
        "coefficients": (num_classes, None if kernel else num_features),
        "intercepts": (num_classes,),
        "probability_scale": (),
    }
    if kernel:
        shapes |= {"support_vectors": (None, num_features), "gamma": ()}
    return shapes


def decision_values(
    weights: dict[str, np.ndarray], features: np.ndarray, kernel: Kernel | None = None
) -> np.ndarray:
    """Computes the decision values of the SVM.

    Args:
      weights: see ``fit``.
      features: float [N, F].
      kernel: that ``fit`` was given.

    Returns:
      float64 [N, C]; minus infinity for classes without training clips.

    Raises:
      ValueError: if features have another length than those of the training part.
    """
    features = np.asarray(features, np.float64)
    exact = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    mean = exact["mean"]
    if features.ndim != 2 or features.shape[1] != len(mean):
        raise ValueError(
            f"expected features [N, {len(mean)}], found {list(features.shape)}"
        )
    rows = (features - mean) / exact["scale"]
    if kernel is not None:
        rows = kernel(rows, exact["support_vectors"], float(exact["gamma"]))
    return rows @ exact["coefficients"].T + exact["intercepts"]


def probabilities(
    weights: dict[str, np.ndarray], features: np.ndarray, kernel: Kernel | None = None
) -> np.ndarray:
    """Computes the probability of each class.

    Args:
      weights: see ``fit``.
      features: float [N, F].
      kernel: that ``fit`` was given.

    Returns:
      float32 [N, C]; rows sum to one. The largest is the class of the largest decision
      value; classes without training clips have 0.

    Raises:
      ValueError: if features have another length than those of the training part.
    """
    decisions = decision_values(weights, features, kernel)
    exact = special.softmax(decisions * float(weights["probability_scale"]), axis=-1)
    rounded = exact.astype(np.float32)
    # Rounding can make two classes equal; the SVM's stays the largest.
    rows, winners = np.arange(len(rounded)), decisions.argmax(-1)
    tied = rounded.argmax(-1) != winners
    rounded[rows[tied], winners[tied]] = np.nextafter(
        rounded[tied].max(-1), np.float32(2)
    )
    return rounded


def inner_folds(
    labels: np.ndarray, groups: np.ndarray, seed: int, folds: int = FOLDS
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divides training clips into folds that no subject is on both sides of.

    Args:
      labels: int [N].
      groups: [N] subjects.
      seed: draws the folds.
      folds: number of folds; fewer if there are fewer subjects.

    Returns:
      For each fold the indices of its training and of its held-out clips. Empty if
      there are fewer than two subjects, or if no class has two clips.
    """
    folds = min(folds, len(np.unique(groups)), np.bincount(labels).max())
    if folds < 2:
        return []
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with _IGNORED:
        divided = [
            (train, held_out)
            for train, held_out in splitter.split(labels[:, None], labels, groups)
            if len(held_out)
        ]
    return divided if len(divided) > 1 else []


def _checked(features, labels, groups, num_classes):
    """Returns the arguments of ``fit`` as arrays; raises ValueError as it says."""
    features = np.asarray(features, np.float64)
    labels = np.asarray(labels)
    groups = np.unique(np.asarray(groups), return_inverse=True)[1]
    if features.ndim != 2 or not features.size:
        raise ValueError(
            "expected features [N, F] of at least one clip, found "
            f"{list(features.shape)}"
        )
    if labels.shape != (len(features),) or groups.shape != (len(features),):
        raise ValueError(
            f"expected a label and a group for each of {len(features)} clips, found "
            f"{list(labels.shape)} and {list(groups.shape)}"
        )
    if labels.dtype.kind not in "iu" or not (
        0 <= labels.min() and labels.max() < num_classes
    ):
        raise ValueError(
            f"expected labels from 0 to {num_classes - 1}, found "
            f"{np.unique(labels).tolist()}"
        )
    finite = np.isfinite(features).all(-1)
    if not finite.all():
        raise ValueError(
            f"expected finite features, found others in clip {int(finite.argmin())} "
            f"and {int((~finite).sum()) - 1} more"
        )
    return features, labels.astype(np.int64), groups


def _standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and the scale of each feature, [F] each.

    Rows have a squared norm of 1 on average after the division by the scale. Features
    that do not vary have a scale of 1: they become 0.
    """
    mean, deviation = features.mean(0), features.std(0)
    # The mean of equal numbers may differ from them in its last bits.
    varies = (features != features[0]).any(0)
    mean = np.where(varies, mean, features[0])
    root = np.sqrt(max(varies.sum(), 1))
    return mean, np.where(varies & (deviation > 0), deviation * root, 1)


def _held_out_decisions(
    features, labels, inner, values, num_classes, kernel, gammas, inner_features
):
    """Computes decision values of clips by SVMs not trained on their subjects.

    Returns:
      float64 [K, G, N, C] for K values of C and G of gamma, minus infinity for classes
      that a fold's training part does not have.
    """
    shape = (len(values), len(gammas), len(labels), num_classes)
    result = np.full(shape, -np.inf)
    for train, held_out in inner:
        if inner_features is not None:
            features = np.asarray(inner_features(train), np.float64)
        mean, spread = _standardisation(features[train])
        rows = (features[train] - mean) / spread
        others = (features[held_out] - mean) / spread
        for index, gamma in enumerate(gammas):
            alphas, intercepts, _ = _solve(
                _gram(rows, rows, kernel, gamma), labels[train], values, num_classes
            )
            # [K, C, train] x [train, held out] -> [K, held out, C]
            between = _gram(rows, others, kernel, gamma)
            decisions = (alphas @ between).swapaxes(1, 2)
            result[:, index, held_out] = decisions + intercepts[:, None]
    return result


def _gram(rows, others, kernel: Kernel | None, gamma: float) -> np.ndarray:
    return rows @ others.T if kernel is None else kernel(rows, others, gamma)


def _solve(
    gram: np.ndarray, labels: np.ndarray, values: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Solves the one-vs-rest SVMs for ascending values of C.

    Args:
      gram: [N, N] inner products of the clips.
      labels: [N].
      values: [K] values of C.
      num_classes: number of classes C.

    Returns:
      Dual coefficients [K, C, N], intercepts [K, C], minus infinity for classes without
      clips, and whether all converged.
    """
    coefficients = np.zeros((len(values), num_classes, len(labels)))
    intercepts = np.full((len(values), num_classes), -np.inf)
    present = np.unique(labels)
    if len(present) == 1:
        intercepts[:, present] = 0
        return coefficients, intercepts, True
    converged = True
    for label in present[1:] if len(present) == 2 else present:
        for k, value in enumerate(values):
            svm = SVC(kernel="precomputed", C=value, max_iter=_STEPS)
            with _IGNORED, sklearn.config_context(**_UNCHECKED):
                svm.fit(gram, labels == label)
            finished = svm.fit_status_ == 0
            converged = converged and finished
            coefficients[k, label, svm.support_] = svm.dual_coef_[0]
            intercepts[k, label] = svm.intercept_[0]
            # No coefficient is at its bound: a larger C has the same solution.
            if finished and np.abs(svm.dual_coef_).max() < value:
                coefficients[k:, label] = coefficients[k, label]
                intercepts[k:, label] = intercepts[k, label]
                break
    if len(present) == 2:
        coefficients[:, present[0]] = -coefficients[:, present[1]]
        intercepts[:, present[0]] = -intercepts[:, present[1]]
    return coefficients, intercepts, converged


def _probability_scale(decisions: np.ndarray, labels: np.ndarray) -> float:
    """Returns the scale that minimises the log loss of softmax(scale x decisions).

    Clips whose class their fold did not train on are left out.
    """
    known = np.isfinite(decisions[np.arange(len(labels)), labels])
    decisions, labels = decisions[known], labels[known]
    if not len(labels):
        return _FALLBACK_SCALE

    def loss(log_scale: float) -> float:
        scores = special.log_softmax(decisions * np.exp(log_scale), axis=-1)
        return -scores[np.arange(len(labels)), labels].mean()

    bounds = tuple(np.log(_SCALES))
    return float(np.exp(optimize.minimize_scalar(loss, bounds=bounds).x))


def _uar(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Returns the unweighted average recall over the classes that have a clip."""
    hits = prediction == truth
    return float(np.mean([hits[truth == label].mean() for label in np.unique(truth)]))
