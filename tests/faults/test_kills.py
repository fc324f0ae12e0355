"""Few of the instants that ``python -m tests.faults.kills`` tries."""

from tests.faults import kills


def test_a_run_that_is_killed_ends_as_one_that_is_not(capsys):
    kills.main(number=2, chain=2)
    assert "2 of 2: chain" in capsys.readouterr().out
