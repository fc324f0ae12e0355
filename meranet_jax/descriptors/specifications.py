"""The specifications of the descriptors, by which the registry knows them."""

import functools
from collections.abc import Callable
from typing import Any

from meranet_jax.descriptors import (
    bi_woof,
    facial_regions,
    fmbh,
    landmark_flow,
    lbp_top,
    mdmo,
    stclqp,
    svm,
    threads,
)
from meranet_jax.descriptors.bi_woof import BiWoofSettings
from meranet_jax.descriptors.fmbh import FmbhSettings
from meranet_jax.descriptors.landmark_flow import LandmarkFlowSettings
from meranet_jax.descriptors.lbp_top import LbpTopSettings
from meranet_jax.descriptors.mdmo import MdmoSettings
from meranet_jax.descriptors.stclqp import StclqpSettings
from meranet_jax.recognisers import ArrayShape, Descriptor

_SMALL = {"small": {"size": 56}}


def _fit(settings, features, labels, groups, *, seed, num_classes):
    return svm.fit(
        features,
        labels,
        groups,
        seed,
        num_classes,
        c_exponents=settings.svm_c_exponents,
    )


def _fit_kernel(settings, features, labels, groups, *, seed, num_classes, kernel):
    return svm.fit(
        features,
        labels,
        groups,
        seed,
        num_classes,
        c_exponents=settings.svm_c_exponents,
        kernel=kernel,
        gammas=settings.gammas,
    )


def _weight_shapes(settings, *, num_features, num_classes, kernel=False):
    shapes = svm.weight_shapes(num_features, num_classes, kernel=kernel)
    return {name: ArrayShape(shape) for name, shape in shapes.items()}


def _weight_shapes_with_words(settings, *, num_features, num_classes):
    shapes = _weight_shapes(
        settings, num_features=settings.num_word_features, num_classes=num_classes
    )
    components = len(stclqp.COMPONENTS)
    words = ArrayShape((2, components, stclqp.PATTERNS), "int32")
    return shapes | {"words": words}


def _features(compute: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return functools.partial(threads.features_of_all, features=compute)


def _selection(constants: str, what: str = "an SVM") -> Callable[[Any], str]:
    text = (
        f"{what} trained on the training and the validation part, {constants} selected "
        "by cross-validation over their subjects"
    )
    return lambda settings: text


_LINEAR: dict[str, Any] = {
    "selection": _selection("its constant C"),
    "fit": _fit,
    "weight_shapes": _weight_shapes,
    "probabilities": svm.probabilities,
}


def _with_kernel(kernel: svm.Kernel) -> dict[str, Any]:
    return {
        "selection": _selection("its constants C and gamma"),
        "fit": functools.partial(_fit_kernel, kernel=kernel),
        "weight_shapes": functools.partial(_weight_shapes, kernel=True),
        "probabilities": functools.partial(svm.probabilities, kernel=kernel),
    }


LBP_TOP = Descriptor(
    name="lbp_top",
    title=lambda settings: "LBP-TOP + SVM",
    citation="G. Zhao, M. Pietikäinen: Dynamic Texture Recognition Using Local Binary "
    "Patterns with an Application to Facial Expressions, TPAMI 2007",
    settings=LbpTopSettings,
    inputs=("raw",),
    check=lbp_top.check_size,
    presets=_SMALL,
    features=_features(lbp_top.features),
    feature_length=lambda settings: settings.num_features,
    **_LINEAR,
)

BI_WOOF = Descriptor(
    name="bi_woof",
    title=lambda settings: "Bi-WOOF + SVM",
    citation="S.-T. Liong, J. See, K. Wong, R. C.-W. Phan: Less Is More: "
    "Micro-Expression Recognition from Video Using Apex Frame, Signal Processing: "
    "Image Communication 2018",
    settings=BiWoofSettings,
    inputs=("raw_onset_apex_flow",),
    check=bi_woof.check_size,
    presets=_SMALL,
    features=_features(lambda clip, settings: bi_woof.features(clip[0], settings)),
    feature_length=lambda settings: settings.num_features,
    **_LINEAR,
)

FMBH = Descriptor(
    name="fmbh",
    title=lambda settings: (
        "MBH + SVM, our reading" if settings.fmbh_separate else "FMBH, our reading"
    ),
    citation="H. Lu, K. Kpalma, J. Ronsin: Motion Descriptors for Micro-Expression "
    "Recognition, Signal Processing: Image Communication 2018. Details that the "
    "abstract does not give are ours",
    settings=FmbhSettings,
    inputs=("raw_flow",),
    check=fmbh.check_size,
    presets=_SMALL,
    features=_features(fmbh.features),
    feature_length=lambda settings: settings.num_features,
    variant=lambda settings: "-separate" if settings.fmbh_separate else "",
    **_LINEAR,
)

STCLQP = Descriptor(
    name="stclqp",
    title=lambda settings: "STCLQP, our reading",
    citation="X. Huang, G. Zhao, X. Hong, W. Zheng, M. Pietikäinen: Spontaneous Facial "
    "Micro-Expression Analysis Using Spatiotemporal Completed Local Quantized "
    "Patterns, Neurocomputing 2016. Details that the abstract does not give are ours",
    settings=StclqpSettings,
    inputs=("raw",),
    check=stclqp.check_size,
    defaults={"sampling": "tim"},
    presets=_SMALL,
    selection=_selection("its constant C", "words of local patterns and an SVM"),
    features=_features(stclqp.features),
    feature_length=lambda settings: settings.num_features,
    fit=stclqp.fit,
    weight_shapes=_weight_shapes_with_words,
    probabilities=stclqp.probabilities,
)

MDMO = Descriptor(
    name="mdmo",
    title=lambda settings: "MDMO, five landmarks",
    citation="Y.-J. Liu, J.-K. Zhang, W.-J. Yan, S.-J. Wang, G. Zhao, X. Fu: A Main "
    "Directional Mean Optical Flow Feature for Spontaneous Micro-Expression "
    "Recognition, IEEE Transactions on Affective Computing 2016. The regions are ours; "
    "the published ones are said to need dense landmarks",
    settings=MdmoSettings,
    inputs=("raw_flow",),
    check=facial_regions.check_size,
    presets=_SMALL,
    features=functools.partial(
        threads.features_of_faces,
        features=mdmo.features,
        num_features=mdmo.NUM_FEATURES,
    ),
    feature_length=lambda settings: mdmo.NUM_FEATURES,
    landmarks=True,
    **_with_kernel(svm.polynomial),
)

LANDMARK_FLOW = Descriptor(
    name="landmark_flow",
    title=lambda settings: "landmark regions + flow",
    citation="ours, after the idea of the system that the paper's Table 1 lists as CNN "
    "+ optical flow (2018), whose parts are not public; it is not that system",
    settings=LandmarkFlowSettings,
    inputs=("raw_onset_apex_flow",),
    check=facial_regions.check_size,
    presets=_SMALL,
    features=functools.partial(
        threads.features_of_faces,
        features=lambda clip, found: landmark_flow.features(clip[0], found),
        num_features=landmark_flow.NUM_FEATURES,
    ),
    feature_length=lambda settings: landmark_flow.NUM_FEATURES,
    landmarks=True,
    **_with_kernel(svm.rbf),
)
