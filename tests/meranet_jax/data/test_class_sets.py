import json

import pytest

from meranet_jax.data import class_sets
from meranet_jax.errors import UserError

# Those of CASME II's table.
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


def test_the_papers_classes():
    assert resolve("paper") == {
        "disgust": ("disgust",),
        "happiness": ("happiness",),
        "surprise": ("surprise",),
    }


def test_all_are_told_apart():
    assert list(resolve("all")) == sorted(EMOTIONS)


def test_megc3_leaves_others_out():
    assert resolve("megc3") == {
        "negative": ("disgust", "fear", "repression", "sadness"),
        "positive": ("happiness",),
        "surprise": ("surprise",),
    }


def test_megc3_of_labels_that_are_called_so_already():
    estimated = {"negative", "positive", "surprise", "others"}
    found = resolve("megc3", emotions=estimated)
    assert found == {c: (c,) for c in ("negative", "positive", "surprise")}


def test_a_list_keeps_its_order():
    assert list(resolve("surprise,disgust")) == ["surprise", "disgust"]


def test_a_mapping_file(tmp_path):
    path = tmp_path / "mine.json"
    mapping = {"low": ["disgust", "sadness", "contempt"], "high": ["happiness"]}
    path.write_text(json.dumps(mapping))
    assert resolve(str(path)) == {name: tuple(of) for name, of in mapping.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("disgust", "at least two different"),
        ("disgust,disgust", "at least two different"),
        ("disgust,,fear", "no clip is "),
        ("disgust,joy", "no clip is joy; they are disgust, fear, happiness"),
        ("nowhere.json", "--classes=nowhere.json cannot be read"),
    ],
)
def test_classes_that_are_none_say_what_there_is(text, message):
    with pytest.raises(UserError, match=message):
        resolve(text)


def test_classes_that_the_paper_does_not_have():
    with pytest.raises(UserError, match="share. Choose --classes=megc3"):
        resolve("paper", paper=None)


def test_megc3_without_surprise_says_so():
    with pytest.raises(UserError, match="no clip is surprise; they are anger, happ"):
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
def test_a_mapping_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"mine\.json"):
        resolve(str(path))
