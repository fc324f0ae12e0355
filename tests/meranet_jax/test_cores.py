"""Cores that a process may use."""

import os

import pytest

from meranet_jax import cores

OTHERS = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        (dict(zip(OTHERS, ("300000\n", "100000\n"), strict=True)), 3),
        (dict(zip(OTHERS, ("-1\n", "100000\n"), strict=True)), 8),
        ({}, 8),
    ],
)
def test_the_processor_time_of_a_container_limits_the_cores(
    files, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda process: set(range(8)), raising=False
    )
    monkeypatch.setattr(cores, "_CGROUP", tmp_path)
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cores.count() == expected
