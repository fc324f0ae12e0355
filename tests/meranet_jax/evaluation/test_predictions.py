"""Predictions and their file: round trips, subsets and damaged files."""

import dataclasses
import locale

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.evaluation.predictions import Predictions

SETTINGS = hypothesis.settings(
    deadline=None, derandomize=True, database=None, max_examples=100
)
# NumPy strips trailing NULs from strings; UTF-8 cannot encode surrogates.
NAMES = st.sampled_from(
    [
        "a,b",
        'say "so"',
        "two\nlines",
        "two\r\nlines",
        "\r",
        "é 微表情 🙂",
        "",
        " ",
        "p_p_",
    ]
) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6
)
FEW = Predictions(
    classes=("joy", "fear, awe"),
    clips=np.array(["c1", "c2", "c3\nc3"]),
    datasets=np.array(["d", "d", "e"]),
    subjects=np.array(["s1", "s1", "s2"]),
    seeds=np.array([0, 1, 1]),
    folds=np.array(["f", "g", "g"]),
    truth=np.array([0, 1, 1]),
    probabilities=np.array([[0.9, 0.1], [0.6, 0.4], [1e-5, 0.99999]], np.float32),
)


@st.composite
def drawn(draw):
    """Draws predictions of one to four classes and one to six clips."""
    classes = tuple(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    clips = draw(st.integers(1, 6))
    names = st.lists(NAMES, min_size=clips, max_size=clips).map(np.array)
    probability = st.floats(0, 1, width=32)
    return Predictions(
        classes,
        *(draw(names) for _ in range(3)),
        seeds=draw(hnp.arrays(np.int64, clips)),
        folds=draw(names),
        truth=draw(
            hnp.arrays(np.int64, clips, elements=st.integers(0, len(classes) - 1))
        ),
        probabilities=draw(
            hnp.arrays(np.float32, (clips, len(classes)), elements=probability)
        ),
    )


def assert_same(found, wanted):
    assert found.classes == wanted.classes
    for field in dataclasses.fields(Predictions)[1:]:
        ours, theirs = getattr(found, field.name), getattr(wanted, field.name)
        np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
        assert ours.dtype == theirs.dtype
    assert found.probabilities.tobytes() == wanted.probabilities.tobytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("predictions") / "predictions.csv"


@pytest.fixture(scope="module")
def text(path):
    """The content of a file with three predictions."""
    predictions.write(FEW, path)
    return path.read_bytes().decode()


# File format


@SETTINGS
@hypothesis.given(wanted=drawn())
def test_file_restores_every_bit(path, wanted):
    predictions.write(wanted, path)
    assert_same(predictions.read(path), wanted)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-45, 1.17549435e-38, 1 / 3, 0.99999994])
def test_file_restores_every_bit_of_extreme_probabilities(path, value):
    wanted = dataclasses.replace(FEW, probabilities=np.full((3, 2), value, np.float32))
    predictions.write(wanted, path)
    assert_same(predictions.read(path), wanted)


def test_ties_predict_the_first_class(path):
    tied = dataclasses.replace(FEW, probabilities=np.full((3, 2), 0.5, np.float32))
    predictions.write(tied, path)
    assert predictions.read(path).predicted.tolist() == [0, 0, 0]


def test_file_content(text):
    lines = text.split("\r\n")
    assert lines[0] == (
        'clip,dataset,subject,seed,fold,truth,prediction,p_joy,"p_fear, awe"'
    )
    assert lines[1].startswith("c1,d,s1,0,f,joy,joy,0.8999999761581421,")
    assert lines[2].startswith('c2,d,s1,1,g,"fear, awe",joy,')


def test_file_is_utf_8_in_every_locale(path):
    named = dataclasses.replace(FEW, clips=np.array(["é", "微表情", "🙂"]))
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    try:
        predictions.write(named, path)
        assert_same(predictions.read(path), named)
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    assert "微表情" in path.read_bytes().decode("utf-8")


# Properties and subsets


def test_predicted_and_correct():
    assert len(FEW) == 3
    assert FEW.predicted.tolist() == [0, 0, 1]
    assert FEW.correct.tolist() == [True, False, True]


def test_select_takes_a_mask_or_indices():
    masked = FEW.select(FEW.seeds == 1)
    assert masked.clips.tolist() == ["c2", "c3\nc3"]
    assert masked.classes == FEW.classes
    assert_same(masked, FEW.select(np.array([1, 2])))
    assert FEW.select(np.array([2, 0])).subjects.tolist() == ["s2", "s1"]


def test_select_of_nothing_is_empty():
    empty = FEW.select(np.zeros(3, bool))
    assert len(empty) == 0
    assert empty.probabilities.shape == (0, 2)


@SETTINGS
@hypothesis.given(original=drawn(), cut=st.integers(0, 6))
def test_concatenate_restores_what_select_divided(original, cut):
    places = np.arange(len(original))
    parts = (original.select(places < cut), original.select(places >= cut))
    assert_same(predictions.concatenate(iter(parts)), original)


def test_concatenate_keeps_names_of_any_length():
    longer = dataclasses.replace(FEW, clips=np.array(["a longer name", "b", "c"]))
    both = predictions.concatenate([FEW, longer])
    assert both.clips.tolist() == [*FEW.clips, *longer.clips]
    assert both.probabilities.shape == (6, 2)


# Damaged files


DAMAGE = {
    "empty": (lambda text: "", "its columns are none"),
    "no predictions": (lambda text: text.split("\r\n")[0] + "\r\n", "no prediction"),
    "no columns": (lambda text: text.split("\r\n", 1)[1], "its columns are c1, d"),
    "a missing column": (lambda text: text.replace(",fold", ""), "its columns are"),
    "no probabilities": (
        lambda text: text.split(",p_joy")[0] + "\r\nc,d,s,0,f,joy,joy\r\n",
        "no prediction",
    ),
    "a missing value": (lambda text: text.replace("c1,", ""), "too few or too many"),
    "an extra value": (lambda text: text.replace("c1,", "c1,c1,"), "too few or too"),
    "a truncated line": (lambda text: text[:-25], "too few or too many"),
    "a truncated number": (lambda text: text[:-6], "last line is truncated"),
    "an unclosed quotation mark": (lambda text: text + '"', "unexpected end"),
    "an unknown class": (
        lambda text: text.replace("f,joy", "f,rage"),
        "'rage' is not one of",
    ),
    "a wrong prediction": (
        lambda text: text.replace("joy,joy", 'joy,"fear, awe"'),
        "not the most probable",
    ),
    "an unknown prediction": (
        lambda text: text.replace("joy,joy", "joy,rage"),
        "not the most probable",
    ),
    "a seed that is not a number": (lambda text: text.replace("s1,0", "s1,x"), "'x'"),
    "a seed beyond 64 bits": (
        lambda text: text.replace("s1,0", "s1," + "9" * 30),
        "too large",
    ),
    "a probability that is not a number": (
        lambda text: text.replace("0.8999", "x"),
        "to float",
    ),
    "an empty probability": (
        lambda text: text.replace("0.8999999761581421", ""),
        "to float",
    ),
    "NaN": (
        lambda text: text.replace("0.8999999761581421", "nan"),
        "not between 0 and 1",
    ),
    "infinity": (lambda text: text.replace("0.8999", "1e400"), "to float|not between"),
    "a probability beyond float32": (
        lambda text: text.replace("0.8999999761581421", "1e40"),
        "not between 0 and 1",
    ),
    "a missing exponent": (
        lambda text: text.replace("e-06", ""),
        "not between 0 and 1",
    ),
    "a negative probability": (
        lambda text: text.replace("0.10000", "-0.1"),
        "not between 0 and 1",
    ),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_file_raises_with_its_path_and_the_reason(
    tmp_path, text, damage, reason
):
    path = tmp_path / "predictions.csv"
    damaged = damage(text)
    assert damaged != text
    path.write_bytes(damaged.encode())
    with pytest.raises(UserError, match=reason) as error:
        predictions.read(path)
    assert str(path) in str(error.value)


def test_file_truncated_within_a_line_raises(path, text):
    complete = text.encode()
    ends = [text.index(clip) for clip in ("c2", '"c3')]  # Complete lines, but fewer.
    for length in range(len(complete)):
        path.write_bytes(complete[:length])
        if length in ends:
            assert len(predictions.read(path)) == ends.index(length) + 1
            continue
        with pytest.raises(UserError, match=path.name):
            predictions.read(path)


@SETTINGS
@hypothesis.given(content=st.binary(max_size=200))
@hypothesis.example(content=b"\x89PNG\r\n\x1a\n\x00\x00")
@hypothesis.example(content=b"\xff\xfe")
@hypothesis.example(content=b"\0" * 100)
def test_binary_file_raises(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError, match=path.name):
        predictions.read(path)


@SETTINGS
@hypothesis.given(data=st.data())
def test_changed_byte_is_read_or_raises_user_error(path, text, data):
    damaged = bytearray(text.encode())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(
        st.integers(0, 255)
    )
    path.write_bytes(bytes(damaged))
    try:
        assert len(predictions.read(path))
    except UserError as error:
        assert str(path) in str(error)


def test_missing_file_and_folder_raise(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UserError, match=path.name):
            predictions.read(path)
