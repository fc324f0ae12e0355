"""The paper's recipe for each data set."""

# Height and width of records in the paper.
RECORDED = 112

# Settings that differ between the data sets of a composite unless a flag sets them,
# with their defaults.
BY_DATASET = {"window": 32, "min_frames": 1}

# Settings that are given as NAME=VALUE for several data sets, with their defaults.
LISTED = {
    "manual_dir": None,
    "release": None,
    "table": (),
    "expressions": None,
    "camera": None,
    "label": "emotion",
}

_WILD = tuple(
    f"synthetic/{name}"
    for name in ("wild", "wild_small", "wild_dev", "wild_b", "wild_b_training")
)

# The paper's classes and settings for each data set (sections 4.1 to 4.3). Other data
# sets need no entry.
PAPER_CLASSES = {
    "synthetic": ("disgust", "happiness", "surprise"),
    "casme": ("disgust", "repression", "tense"),
    "casme2": ("disgust", "happiness", "surprise"),
    "cas_me_2": ("anger", "disgust", "happiness"),
}
RECIPES = {
    "synthetic": {},
    "casme": {"min_frames": 16},
    "casme2": {"min_frames": 16},
    # 10 of its 57 micro-expressions have 16 frames, so the default min_frames is kept.
    "cas_me_2": {"window": 16, "test_fraction": 0.2},
    # The benchmark, which has other emotions than the rest of synthetic
    **dict.fromkeys(_WILD, {"classes": "megc3"}),
}

# Class sets that publications use for single data sets, by the value of --classes and
# the data set; docs/protocols.md says where each comes from. Clips of other emotions
# are left out.
NAMED_CLASSES = {
    "emotions5": {
        "casme2": ("disgust", "happiness", "others", "repression", "surprise"),
        "samm": ("anger", "contempt", "happiness", "others", "surprise"),
    },
    "emotions4": {"casme": ("disgust", "repression", "surprise", "tense")},
}

# Data sets that show the same people as another one, under the same names: the name of
# the data set by whose name their subjects are prefixed. Such a person is one subject.
SAME_PEOPLE: dict[str, str] = {}


def people(dataset: str) -> str:
    """Returns the name that stands for the people of a data set.

    It is the name of the data set without its configuration, since configurations show
    the same people, unless ``SAME_PEOPLE`` has another.
    """
    name = dataset.partition("/")[0]
    return SAME_PEOPLE.get(name, name)


def recipe(dataset: str) -> dict:
    """Returns the settings of a data set, ``name`` or ``name/config``."""
    return RECIPES.get(dataset, RECIPES.get(dataset.partition("/")[0], {}))


def paper_classes(dataset: str) -> tuple[str, ...] | None:
    """Returns the paper's classes for a data set; None if it does not use it."""
    return None if dataset in _WILD else PAPER_CLASSES.get(dataset.partition("/")[0])
