"""The notebook, from top to bottom in a clean kernel, with small settings."""

import json

import nbclient
import nbformat
import pytest

from tests.programs import ROOT, SMALLEST

NOTEBOOK = ROOT / "notebooks" / "meranet.ipynb"


def executed(folder, **settings):
    """The notebook after it ran, with other settings in its first cell of code."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (first,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    settings = {"HOME": str(folder), **settings}
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    first.source = "\n".join([first.source, *lines])
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    client.execute()
    return notebook


def test_it_prepares_trains_evaluates_and_shows(tmp_path):
    flags = [*SMALLEST[1:], "--epochs=2", "--devices=1"]
    notebook = executed(tmp_path, DATASET="synthetic/easy", FLAGS=flags)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.text for output in outputs if "text" in output)
    run = tmp_path / "runs" / "notebook-synthetic-easy-small"
    report = json.loads((run / "report.json").read_text())
    # Said by train.py, and by eval.py from the weights.
    accuracy = f"accuracy: {report['metrics']['accuracy']['mean']:.3f}"
    assert printed.count(accuracy) == 2 and "epoch 2/2" in printed
    kinds = [set(output.data) for output in outputs if "data" in output]
    drawn = [kind & {"image/png", "image/gif"} for kind in kinds]
    # The clips, the curves, the confusion matrix, the maps of several and of one.
    assert drawn == 4 * [{"image/png"}] + [{"image/gif"}]
    assert (run / "saliency" / "overview.png").exists()


def test_it_stops_where_a_program_fails(tmp_path):
    with pytest.raises(nbclient.exceptions.CellExecutionError) as caught:
        executed(tmp_path, DATASET="nothing", MANUAL_DIR=str(tmp_path))
    assert "train.py failed with 1: see above." in str(caught.value)


def test_it_is_kept_without_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs") and not cell.get("execution_count")
