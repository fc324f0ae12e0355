import pytest

pytest.importorskip("torch")
from benchmarks import attention, rows, run, step, table  # noqa: E402  (imports torch)


def _measured(folder, form="native", milliseconds=123.4, mode="default"):
    """Writes a row of a step, a forward pass, the attention and a run."""
    for name, columns, cells in (
        ("step", step.COLUMNS, {"what": "forward", "network": "MERANet"}),
        ("step", step.COLUMNS, {"what": "step", "network": "MERANet"}),
        ("attention", attention.COLUMNS, {"what": "step", "side": "ours"}),
        ("run", run.COLUMNS, {"epochs": 1, "flags": ""}),
    ):
        numbers = {name: 2.0 for name in columns}
        numbers |= {"ratio_least": 1.5, "ratio_most": 2.5, "ours_ms": milliseconds}
        numbers |= {"convolution": form, "torch_mode": mode}
        case = {"preset": "small", "batch_size": 8, "precision": "fp32"} | cells
        numbers |= {key: cell for key, cell in case.items() if key in columns}
        table_ = rows.Table(name, columns, folder=folder)
        table_.append({key: numbers[key] for key in columns})


def test_the_page_contains_the_current_tables():
    table.main(check=True)


def test_the_newest_row_fills_its_cells(tmp_path):
    _measured(tmp_path)
    text = table.markdown(tmp_path)
    cells = "123 ms | 2 ms, compiled | 2.00 (1.50 to 2.50)"
    assert f"| MERANet, small, 8 clips, fp32 | {cells} |  |  |  |\n" in text
    assert "without the extension" not in text
    assert "paper, 16 clips" not in text  # there is no row for it
    assert "\nCPU: " in text and "\nGPU: " not in text


def test_rows_without_the_extension_have_lines_of_their_own(tmp_path):
    _measured(tmp_path)
    _measured(tmp_path, form="planes", milliseconds=456.7)
    text = table.markdown(tmp_path)
    case = "| MERANet, small, 8 clips, fp32"
    ratio = "2 ms, compiled | 2.00 (1.50 to 2.50)"
    assert text.count(f"{case} | 123 ms | {ratio}") == 2  # step and forward pass
    assert text.count(f"{case}, without the extension | 457 ms | {ratio}") == 2


def test_a_row_of_a_gpu_fills_its_columns_and_names_the_mode(tmp_path, monkeypatch):
    where = rows.where("cpu") | {"backend": "gpu", "device": "a GPU"}
    monkeypatch.setattr(rows, "where", lambda backend: where)
    _measured(tmp_path, form="primitive", mode="eager")
    text = table.markdown(tmp_path)
    cells = "123 ms | 2 ms, eager | 2.00 (1.50 to 2.50)"
    assert f"| MERANet, small, 8 clips, fp32 |  |  |  | {cells} |\n" in text
    assert "\nGPU: a GPU, " in text and "CPU: a" not in text


def test_the_figure_is_plotted_from_the_rows(tmp_path):
    table.draw(tmp_path / "none.png", tmp_path)
    assert not (tmp_path / "none.png").exists()
    _measured(tmp_path)
    table.draw(tmp_path / "some.png", tmp_path)
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
