import csv

import pytest

from benchmarks import rows


def test_rows_are_added_with_what_they_were_measured_on(tmp_path):
    for milliseconds in (1.23456, None):
        table = rows.Table("some", ("what", "ms"), folder=tmp_path)
        table.append({"what": "a step", "ms": milliseconds})
    first, second = rows.read("some", tmp_path)
    assert (first["what"], first["ms"], second["ms"]) == ("a step", "1.235", "")
    assert tuple(first) == (*rows.WHERE, "what", "ms")
    assert first["backend"] == "cpu" and first["device"] and int(first["cores"])
    with (tmp_path / "some.csv").open() as file:
        assert len(list(csv.reader(file))) == 3  # one header, two rows


def test_a_file_with_other_columns_is_refused_before_anything_is_measured(tmp_path):
    rows.Table("some", ("what",), folder=tmp_path).append({"what": "a step"})
    with pytest.raises(SystemExit, match="other columns.*Move it away"):
        rows.Table("some", ("what", "ms"), folder=tmp_path)


def test_a_row_has_all_columns_and_no_others(tmp_path):
    table = rows.Table("some", ("what", "ms"), folder=tmp_path)
    with pytest.raises(ValueError, match="ms, seconds"):
        table.append({"what": "a step", "seconds": 1.0})
    assert not table.path.exists()


def test_ways_take_turns():
    calls = []
    seconds = rows.alternate({"a": lambda: calls.append("a"), "b": calls.sort}, 3)
    assert calls == ["a"] * 3
    assert seconds["a"].shape == seconds["b"].shape == (3,)


def test_a_spread_is_three_cells():
    assert rows.Spread.of([3.0, 1.0, 2.0]).columns("ms") == {
        "ms": 2.0,
        "ms_least": 1.0,
        "ms_most": 3.0,
    }
