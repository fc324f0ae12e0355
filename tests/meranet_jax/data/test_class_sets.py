import json

import pytest

from meranet_jax.config import TrainConfig
from meranet_jax.data import class_sets
from meranet_jax.errors import UserError
from meranet_jax.runs.train_run import load_clips

# The emotions in the table of CASME II.
EMOTIONS = {
    "disgust",
    "fear",
    "happiness",
    "others",
    "repression",
    "sadness",
    "surprise",
}


def resolve(text, paper=("disgust", "happiness", "surprise"), emotions=EMOTIONS):
    return class_sets.resolve(emotions, text=text, paper=paper)


def test_paper_gives_the_classes_of_the_paper():
    assert resolve("paper") == {
        "disgust": ("disgust",),
        "happiness": ("happiness",),
        "surprise": ("surprise",),
    }


def test_all_makes_a_class_of_each_emotion():
    assert list(resolve("all")) == sorted(EMOTIONS)


def test_megc3_excludes_others():
    assert resolve("megc3") == {
        "negative": ("disgust", "fear", "repression", "sadness"),
        "positive": ("happiness",),
        "surprise": ("surprise",),
    }


def test_megc3_excludes_clips_without_an_expression():
    resolved = class_sets.resolve(
        {"disgust", "happiness", "neutral", "surprise"}, text="megc3", paper=None
    )
    assert resolved["negative"] == ("disgust",)


def test_megc3_accepts_labels_with_its_class_names():
    estimated = {"negative", "positive", "surprise", "others"}
    found = resolve("megc3", emotions=estimated)
    assert found == {c: (c,) for c in ("negative", "positive", "surprise")}


def test_megc3_excludes_labels_of_two_classes():
    of_4dme = {"negative", "others", "positive", "repression", "surprise"}
    of_4dme |= {"negative+repression", "positive+repression"}
    of_4dme |= {"surprise+positive", "surprise+negative", "surprise+repression"}
    assert resolve("megc3", emotions=of_4dme) == {
        "negative": ("negative", "negative+repression", "repression"),
        "positive": ("positive",),
        "surprise": ("surprise",),
    }


def test_list_keeps_its_order():
    assert list(resolve("surprise,disgust")) == ["surprise", "disgust"]


def test_mapping_file(tmp_path):
    path = tmp_path / "mine.json"
    mapping = {"low": ["disgust", "sadness", "contempt"], "high": ["happiness"]}
    path.write_text(json.dumps(mapping))
    assert resolve(str(path)) == {name: tuple(of) for name, of in mapping.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("disgust", "at least two different"),
        ("disgust,disgust", "at least two different"),
        ("disgust,,fear", "no clip is labelled "),
        (
            "disgust,joy",
            "no clip is labelled joy; the labels are disgust, fear, happiness",
        ),
        ("nowhere.json", "--classes=nowhere.json cannot be read"),
    ],
)
def test_invalid_classes_raise(text, message):
    with pytest.raises(UserError, match=message):
        resolve(text)


def test_paper_without_common_classes_raises():
    with pytest.raises(UserError, match="no classes for these.*--classes=megc3"):
        resolve("paper", paper=None)


def test_megc3_without_surprise_raises():
    with pytest.raises(
        UserError, match="labelled surprise; the labels are anger, happ"
    ):
        resolve("megc3", emotions={"anger", "happiness"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        '{"a": ["disgust"]}',
        '{"a": ["disgust"], "b": "fear"}',
        '{"a": ["disgust"], "b": []}',
        '{"a": ["disgust"], "b": ["disgust"]}',
        '{"a": ["disgust"], "": ["fear"]}',
        '{"a": ["disgust"], "b": [1]}',
        '{"a": ["joy"], "b": ["disgust"]}',
        "\udcff",
    ],
)
def test_invalid_mapping_file_raises(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"mine\.json"):
        resolve(str(path))


@pytest.mark.parametrize("text", ["megc4", "nowhere.json", "paper"])
def test_unknown_class_sets_are_refused_before_anything_is_prepared(text):
    config = TrainConfig(dataset="smic", classes=text)

    def prepare(one):
        raise AssertionError("the records were prepared")

    with pytest.raises(UserError, match=f"--classes={text}"):
        load_clips(config, prepare)
