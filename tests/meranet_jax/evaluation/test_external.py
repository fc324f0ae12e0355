"""Predictions of another program: what is read, and what is refused."""

import dataclasses

import numpy as np
import pytest

from meranet_jax.errors import UserError
from meranet_jax.evaluation import external, prediction_file, predictions
from meranet_jax.evaluation.external import Reference

REFERENCE = Reference(
    source="the records of lab",
    classes=("joy", "fear"),
    clips=("s1/a", "s1/b", "s2/a"),
    datasets=("lab", "lab", "lab"),
    subjects=("s1", "s1", "s2"),
    truth=(0, 1, 1),
    left_out={"s2/c": "others, not among the classes"},
)
LINES = ["clip,prediction", "s2/a,fear", "s1/a,joy", "s1/b,joy"]


@pytest.fixture
def match(tmp_path):
    """Returns a function that writes a file, reads it and matches it."""

    def function(content, tested=None, reference=REFERENCE):
        path = tmp_path / "file.csv"
        if isinstance(content, list):
            content = "\n".join(content) + "\n"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return external.match(prediction_file.read(path), reference, tested)

    return function


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(LINES),
        "\n".join(LINES) + "\n\n\n",
        "\r\n".join(LINES),
        "\r".join(LINES),
        b"\xef\xbb\xbf" + "\r\n".join(LINES).encode(),
        "\n".join(LINES).replace(",", ";"),
        "\n".join(LINES).replace(",", "\t"),
        "\n".join(LINES).replace(",", ", "),
        "\n".join('"' + line.replace(",", '","') + '"' for line in LINES),
        "\n".join(line.split(",")[1] + "," + line.split(",")[0] for line in LINES),
    ],
)
def test_forms_of_csv(match, content):
    matched = match(content)
    found = matched.predictions
    assert found.clips.tolist() == ["s2/a", "s1/a", "s1/b"]
    assert found.subjects.tolist() == ["s2", "s1", "s1"]
    assert found.truth.tolist() == [1, 0, 1]
    assert found.predicted.tolist() == [1, 0, 0]
    assert found.seeds.tolist() == [0, 0, 0]
    assert not matched.has_probabilities and not matched.has_folds
    assert matched.notes == ()


def test_a_file_of_a_run(match, tmp_path):
    written = match(
        [
            "clip,seed,fold,prediction,p_joy,p_fear",
            "s2/a,3,x,fear,0.1,0.9",
            "s1/a,3,y,joy,0.5,0.5",
            "s1/b,3,y,fear,0.30000001,0.7",
        ]
    ).predictions
    predictions.write(written, tmp_path / "run.csv")
    again = match((tmp_path / "run.csv").read_bytes())
    assert again.has_probabilities and again.has_folds and again.notes == ()
    for name, values in vars(written).items():
        np.testing.assert_array_equal(vars(again.predictions)[name], values)


def test_equal_probabilities_keep_the_given_class_and_the_confidence(match):
    close = 0.5 + 1e-12  # equal to 0.5 in float32
    found = match(
        [
            "clip,prediction,p_fear,p_joy",
            "s1/a,joy,0.5,0.5",
            "s1/b,fear,0.5,0.5",
            f"s2/a,fear,{close!r},{1 - close!r}",
        ]
    ).predictions
    assert found.predicted.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(found.probabilities.max(-1), np.float32(0.5))


def test_the_most_probable_class_is_the_prediction(match):
    found = match(["clip,p_joy,p_fear", "s1/a,.4,.6", "s1/b,.7,.3", "s2/a,0,1"])
    assert found.predictions.predicted.tolist() == [1, 0, 1]


def test_what_is_not_used_is_noted(match):
    lines = [f"{n},{line},x" for n, line in enumerate([*LINES[1:], "s2/c,disgust"])]
    matched = match([",clip,prediction,p_value", *lines])
    assert len(matched.predictions) == 3
    assert matched.notes == (
        "columns that are not used: (unnamed), p_value",
        "1 prediction not scored, since the clip is left out: others, not among the "
        "classes",
    )


def test_the_clips_of_a_split(match):
    lines = ["clip,prediction,seed", "s1/a,joy,0", "s2/a,joy,4"]
    tested = {0: {"s1/a": "one"}, 4: {"s2/a": "two"}}
    matched = match(lines, tested)
    assert matched.has_folds and matched.predictions.folds.tolist() == ["one", "two"]
    with pytest.raises(UserError, match="1 of 1 clip of the test parts .* seed 0"):
        match(lines, tested | {0: {"s1/b": "one"}})
    with pytest.raises(
        UserError, match=r"1 clip with a prediction for seed 4 .*: s1/b"
    ):
        match([*lines, "s1/b,joy,4"], tested)


def test_folds_of_a_split_may_have_other_names(match):
    tested = {0: {"s1/a": "one", "s1/b": "one", "s2/a": "two"}}
    lines = ["clip,prediction,fold", "s1/a,joy,1", "s1/b,joy,1"]
    found = match([*lines, "s2/a,joy,2"], tested).predictions
    assert found.folds.tolist() == ["one", "one", "two"]
    with pytest.raises(UserError, match="line 4: the fold '1' of s2/a"):
        match([*lines, "s2/a,joy,1"], tested)


def _changed(old, new):
    return "\n".join(LINES).replace(old, new) + "\n"


REFUSED = {
    "empty": ("", "is empty. Expected a CSV file with the columns clip and"),
    "blank": ("\ufeff \n\n", "is empty"),
    "header only": ("clip,prediction\n", "has a header but no predictions"),
    "workbook": (b"PK\x03\x04rest", "is an Excel workbook or a zip archive. Save it"),
    "UTF-16": ("clip\n".encode("utf-16")[:-1], "line 1: it is not text in UTF-8 or"),
    "Latin-1": (_changed("fear", "f\xe9ar").encode("latin-1"), "line 2: it is not"),
    "binary": (b"clip\0", "is not a text file"),
    "no header": ("s1/a,joy\n", "has no column clip; its first line is 's1/a,joy'"),
    "other case": (_changed("clip,", "Clip,"), "first line is 'Clip,prediction'"),
    "separator named": ("sep=;\n" + "\n".join(LINES), "its first line is 'sep=;'"),
    "spaces": ("clip prediction\ns1/a joy\n", "has no column clip"),
    "two separators": ("clip,a;clip\n1,1;1\n", "read with commas or semicolons"),
    "mixed": (
        _changed("s2/a,", "s2/a;"),
        "line 2: expected 2 values separated by commas",
    ),
    "long line": (_changed("s1/a,", "s1/a,,"), "header, found 3. Complete"),
    "open quote": (_changed("s1/b", '"s1/b'), "cannot be read as CSV"),
    "no prediction": (
        "clip,class\ns1/a,joy\n",
        "columns are clip, class. Add one with",
    ),
    "column twice": ("clip,prediction,clip\n1,1,1\n", "several columns named clip"),
    "unknown clip": (
        _changed("s1/a", "S1/a"),
        "line 3: there is no clip 'S1/a' in the",
    ),
    "clip twice": (_changed("s1/b", "s1/a"), "clip s1/a of seed 0 is in line 3, too"),
    "clip missing": (LINES[:3], "1 of 3 clips of the records of lab has no predicti"),
    "number": (_changed("joy", "0"), "'0' is not one of the classes joy, fear. Write"),
    "capital": (_changed("joy", "Joy"), "Did you mean joy?"),
    "class left out": (_changed("joy", "others"), "'others' is not one of"),
    "no class": (_changed("s1/a,joy", "s1/a,"), "line 3: the prediction '' is not"),
}
SEEDS = ("-1", "1.0", "", "1_0", "\u0663", str(2**32), "9" * 5000)
for _seed in SEEDS:
    REFUSED[f"seed {_seed[:20]!r}"] = (
        f"clip,prediction,seed\ns1/a,joy,{_seed}\n",
        f"the seed {_seed[:20]!r} is not an integer",
    )
for _column, _value, _message in (
    ("truth", "fear", "the truth of s1/a is 'fear' in the file and 'joy' in the"),
    ("subject", "1", "the subject of s1/a is '1' in the file and 's1' in the records"),
    ("dataset", "Lab", "the dataset of s1/a is 'Lab' in the file and 'lab'"),
    ("fold", "", "line 2: the fold is empty"),
):
    REFUSED[_column] = (
        [f"clip,prediction,{_column}", f"s1/a,joy,{_value}", "s1/b,joy,fear"]
        + ["s2/a,joy,fear"],
        _message,
    )
for _values, _message in (
    ("joy,0.2,0.8", "the prediction is joy, but fear is more probable (0.8, not 0.2)"),
    ("joy,0.2,0.2", "have the sum 0.400, not 1"),
    ("joy,2.5,-1", "p_joy is '2.5', not a probability"),
    ("joy,nan,1", "p_joy is 'nan'"),
    ("joy,1,", "p_fear is ''"),
    ('joy,"0,9","0,1"', "p_joy is '0,9', not a probability from 0 to 1 (with a deci"),
):
    REFUSED[f"probabilities {_values}"] = (
        ["clip,prediction,p_joy,p_fear", f"s1/a,{_values}"]
        + ["s1/b,joy,1,0", "s2/a,joy,1,0"],
        f"line 2: {_message}" if "sum" not in _message else _message,
    )
REFUSED["some probabilities"] = (
    [f"{line},{value}" for line, value in zip(LINES, ["p_joy", 1, 1, 1], strict=True)],
    "has no column p_fear, but probabilities of other classes",
)
REFUSED["equal probabilities"] = (
    ["clip,p_joy,p_fear", "s1/a,0.5,0.5", "s1/b,1,0", "s2/a,1,0"],
    "joy and fear are equally probable. Add a column prediction",
)


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(match, case):
    content, message = REFUSED[case]
    with pytest.raises(UserError) as refused:
        match(content)
    assert message in str(refused.value)
    assert "file.csv" in str(refused.value)


def test_all_clips_of_each_seed_must_be_predicted(match):
    lines = ["clip,prediction,seed"]
    lines += [f"{line},{seed}" for seed in (0, 7) for line in LINES[1:]]
    assert match(lines).predictions.seeds.tolist() == [0, 0, 0, 7, 7, 7]
    with pytest.raises(UserError, match="1 of 3 clips .* for seed 7: s1/b"):
        match(lines[:-1])


def test_clips_without_records_are_mentioned(match):
    reference = dataclasses.replace(REFERENCE, unrecorded=2)
    with pytest.raises(UserError, match="2 clips of the copy cannot be scored"):
        match(_changed("s1/a", "s1/x"), reference=reference)
