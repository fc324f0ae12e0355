import csv

import pytest

from benchmarks import rows


def test_rows_contain_machine_and_versions(tmp_path):
    for milliseconds in (1.23456, None):
        table = rows.Table("some", ("what", "ms"), folder=tmp_path)
        table.append({"what": "a step", "ms": milliseconds})
    first, second = rows.read("some", tmp_path)
    assert (first["what"], first["ms"], second["ms"]) == ("a step", "1.235", "")
    assert tuple(first) == (*rows.WHERE, "what", "ms")
    assert first["backend"] == "cpu" and first["device"] and int(first["cores"])
    with (tmp_path / "some.csv").open() as file:
        assert len(list(csv.reader(file))) == 3  # one header, two rows


def test_files_with_other_columns_are_refused(tmp_path):
    rows.Table("some", ("what",), folder=tmp_path).append({"what": "a step"})
    with pytest.raises(SystemExit, match="expected .*Move it away"):
        rows.Table("some", ("what", "ms"), folder=tmp_path)


def test_rows_with_other_columns_are_refused(tmp_path):
    table = rows.Table("some", ("what", "ms"), folder=tmp_path)
    with pytest.raises(ValueError, match="unknown columns ms, seconds"):
        table.append({"what": "a step", "seconds": 1.0})
    assert not table.path.exists()


def test_functions_are_measured_in_turns():
    calls = []
    seconds = rows.alternate({"a": lambda: calls.append("a"), "b": calls.sort}, 3)
    assert calls == ["a"] * 3
    assert seconds["a"].shape == seconds["b"].shape == (3,)


def test_columns_of_a_spread():
    assert rows.Spread.of([3.0, 1.0, 2.0]).columns("ms") == {
        "ms": 2.0,
        "ms_least": 1.0,
        "ms_most": 3.0,
    }
