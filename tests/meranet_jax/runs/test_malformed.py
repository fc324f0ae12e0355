"""Fuzz tests: malformed files are read or refused with a message.

No other exceptions may be raised. The environment variable ``FUZZ=20000`` sets the
number of examples of each test, instead of 100, and draws others at each run.
"""

import copy
import json
import os
import shutil

import hypothesis
import openpyxl
import pytest
from hypothesis import strategies as st

from datasets.casme2.casme2_dataset_builder import SPECIFICATION as CASME2
from datasets.source.annotations import read_table
from meranet_jax.data import class_sets, splits
from meranet_jax.errors import DataError, UserError
from meranet_jax.evaluation import predictions
from meranet_jax.runs import merge, reader, report
from meranet_jax.training.fold_progress import FoldProgress, FoldTask
from meranet_jax.video.frames import numbered_frames
from tests.datasets.casme2_tree import write_table
from tests.meranet_jax.loading import load, smallest
from tests.meranet_jax.running import run

SETTINGS = hypothesis.settings(
    deadline=None,
    derandomize="FUZZ" not in os.environ,
    database=None,
    max_examples=int(os.environ.get("FUZZ", 100)),
    suppress_health_check=list(hypothesis.HealthCheck),
)

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../../up", "/etc/passwd", "\0", "1e999", "best_val", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(value, path=()):
    """Yields the path of each value inside a JSON value."""
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in items:
            yield from paths(inner, (*path, name))


@st.composite
def changed(draw, value):
    """Replaces or deletes one or two values inside a JSON value."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        *outer, last = draw(st.sampled_from(list(paths(value))[1:] or [(None,)]))
        inner = value
        for name in outer:
            inner = inner[name]
        if last is None:
            return draw(_JSON)
        if draw(st.booleans()):
            inner[last] = draw(_JSON)
        else:
            del inner[last]
    return value


@st.composite
def damaged(draw, data: bytes):
    """Deletes, inserts or changes bytes."""
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(0, len(data)))
        most = draw(st.sampled_from([0, 1, 8, len(data)]))
        last = draw(st.integers(first, min(len(data), first + most)))
        data = data[:first] + draw(st.binary(max_size=8)) + data[last:]
    return data


def try_each(values, attempt, error=UserError, message=""):
    """Calls a function with each value; it may only raise ``error``."""

    @SETTINGS
    @hypothesis.given(values)
    def given(value):
        try:
            attempt(value)
        except error as raised:
            assert str(raised) and message in str(raised)

    given()


@pytest.fixture(scope="module")
def finished(clips, tmp_path_factory):
    """The folder of a finished run."""
    return run(smallest(tmp_path_factory.mktemp("runs"), epochs=1), clips)


def check_run(path):
    """Reads all files of a run but the weights, as eval.py does."""
    read = reader.read(path)
    reader.read_epoch_metrics(path)
    reader.read_report(path)
    report.read_predictions(read)
    merge.merged_path([read], None)


@pytest.mark.parametrize("name", ["config.json", "split.json", "report.json"])
def test_json_files_of_a_run(finished, tmp_path, name):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    original = json.loads((path / name).read_text())

    def attempt(value):
        (path / name).write_text(json.dumps(value))
        check_run(path)

    try_each(changed(original), attempt)


@pytest.mark.parametrize("name", ["config.json", "split.json", "predictions.csv"])
def test_bytes_of_files_of_a_run(finished, tmp_path, name):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    file = next(path.rglob(name))
    data = file.read_bytes()

    def attempt(value):
        file.write_bytes(value)
        check_run(path)

    try_each(damaged(data), attempt)


def test_bytes_of_predictions(finished, tmp_path):
    data = (finished / "predictions.csv").read_bytes()
    file = tmp_path / "predictions.csv"

    def attempt(value):
        file.write_bytes(value)
        predictions.read(file)

    try_each(damaged(data), attempt, message=str(file))


def test_content_of_splits(finished, clips):
    original = json.loads((finished / "split.json").read_text())

    def attempt(value):
        protocol, split = splits.from_json(json.dumps(value), clips, "it")
        splits.check(split, clips, protocol)

    try_each(changed(original), attempt)


def test_content_of_class_sets():
    original = {"a": ["anger"], "b": ["disgust", "fear"]}
    try_each(
        changed(original), lambda value: class_sets.parse(value, "it"), message="it"
    )


def test_content_of_checkpoints():
    task = FoldTask("it", 0, *[None] * 6)
    line = {"epoch": 1, "validation_accuracy": 0.5, "validation_loss": 1.0, "step": 2}
    progress = FoldProgress(task, 2, 3)
    progress.add_epoch(line)
    progress.step, progress.seconds = 1, 0.5
    facts = json.loads(json.dumps(progress.to_json()))

    def attempt(value):
        progress = FoldProgress(task, 2, 3)
        progress.check(value)
        checked.append(value)

    checked = []
    progress.check(facts)
    try_each(changed(facts), attempt, ValueError)
    for value in checked:
        progress = FoldProgress(task, 2, 3)
        progress.resume(value, None)
        assert 0 <= progress.steps_done <= 6


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_descriptions_of_records(records, tmp_path, name):
    folder = tmp_path / "records"
    shutil.copytree(records, folder)
    original = json.loads((folder / name).read_text())

    def attempt(value):
        (folder / name).write_text(json.dumps(value))
        load(folder)

    try_each(changed(original), attempt)


def test_bytes_of_records(records, tmp_path):
    folder = tmp_path / "records"
    shutil.copytree(records, folder)
    (file,) = folder.glob("*array_record*")
    data = file.read_bytes()

    def attempt(value):
        file.write_bytes(value)
        load(folder)

    try_each(damaged(data), attempt, message="are damaged")


def test_records_cannot_import_modules(records, tmp_path):
    folder = tmp_path / "records"
    shutil.copytree(records, folder)
    file = folder / "features.json"
    text = file.read_text()
    name = "tensorflow_datasets.core.features.scalar.Scalar"
    assert name in text
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    file.write_text(text.replace(name, "evil.Scalar", 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with pytest.raises(UserError, match="evil.Scalar, which is not a feature"):
            load(folder)


@pytest.mark.parametrize("kind", [".xlsx", ".csv"])
def test_bytes_of_tables(tmp_path, kind):
    table = tmp_path / "table.xlsx"
    write_table(table)
    if kind == ".csv":
        sheet = openpyxl.load_workbook(table).active
        text = "\n".join(",".join(map(str, row)) for row in sheet.values)
        table = tmp_path / "table.csv"
        table.write_text(text)
    data = table.read_bytes()
    read_table(table, CASME2.columns)
    file = tmp_path / f"damaged{kind}"

    def attempt(value):
        file.write_bytes(value)
        read_table(file, CASME2.columns)

    try_each(damaged(data), attempt, DataError)


@SETTINGS
@hypothesis.given(
    names=st.lists(
        st.text(
            st.characters(exclude_characters="/\0", codec="utf-8"),
            min_size=1,
            max_size=40,
        ).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)
        | st.integers().map(lambda n: f"img{n}.jpg")
    )
)
def test_names_of_frames(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("frames")
    for name in names:
        (folder / name).write_bytes(b"")
    found = numbered_frames(folder)
    assert list(found) == sorted(found)
    assert all(path.name in names for path in found.values())
    shutil.rmtree(folder)
