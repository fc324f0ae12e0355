import pytest

pytest.importorskip("torch")
from benchmarks import memory, rows, scale, sides, step  # noqa: E402  (imports torch)


def test_both_sides_are_compared_and_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "of", lambda *_: None)
    small = {"size": 16, "width": 4, "stage_sizes": (1,), "batch_size": 2}
    config = sides.case("small", **small)
    row = step.measure(config, "small", "fp32", "forward", 2, ("eager",))
    row |= step.shares(row, 1e12) | {"axis": "batch_size", "value": 2}
    rows.Table("scale", scale.COLUMNS, folder=tmp_path).append(row)

    (written,) = rows.read("scale", tmp_path)
    assert written["ours_peak_mb"] == ""
    assert float(written["ratio_least"]) <= float(written["ratio"])
    scale.draw(tmp_path / "scale.png", tmp_path)
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")


def test_tf32_is_refused_without_a_gpu():
    with pytest.raises(SystemExit, match="needs an NVIDIA GPU"):
        sides.allow("tf32")
