"""The paper's recipe for each data set."""

# Height and width of records; the paper's.
RECORDED = 112

# What a recipe may say of a data set and a user of all, and what it is else.
BY_DATASET = {"window": 32, "min_frames": 1}

# What is said of several data sets as NAME=VALUE, and what it is else.
LISTED = {
    "manual_dir": None,
    "release": None,
    "table": None,
    "expressions": None,
    "label": "emotion",
}

# What the paper sets apart for each data set (sections 4.1 to 4.3). A data set that it
# has not needs no line.
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
    # Of its 57 micro-expressions 10 have 16 frames, so none is left out.
    "cas_me_2": {"window": 16, "test_fraction": 0.2},
}
