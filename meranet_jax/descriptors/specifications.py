"""The specifications of the descriptors, by which the registry knows them."""

from meranet_jax.descriptors import lbp_top, svm
from meranet_jax.descriptors.lbp_top import LbpTopSettings
from meranet_jax.recognisers import ArrayShape, Descriptor


def _fit(settings, features, labels, groups, *, seed, num_classes):
    return svm.fit(
        features,
        labels,
        groups,
        seed,
        num_classes,
        c_exponents=settings.svm_c_exponents,
    )


def _weight_shapes(settings, *, num_features, num_classes):
    shapes = svm.weight_shapes(num_features, num_classes)
    return {name: ArrayShape(shape) for name, shape in shapes.items()}


LBP_TOP = Descriptor(
    name="lbp_top",
    title=lambda settings: "LBP-TOP + SVM",
    citation="G. Zhao, M. Pietikäinen: Dynamic Texture Recognition Using Local Binary "
    "Patterns with an Application to Facial Expressions, TPAMI 2007",
    settings=LbpTopSettings,
    inputs=("raw",),
    check=lbp_top.check_size,
    presets={"small": {"size": 56}},
    selection=lambda settings: (
        "an SVM trained on the training and the validation part, "
        "its constant C selected by cross-validation over their subjects"
    ),
    features=lbp_top.features_of_all,
    feature_length=lambda settings: settings.num_features,
    fit=_fit,
    weight_shapes=_weight_shapes,
    probabilities=svm.probabilities,
)
