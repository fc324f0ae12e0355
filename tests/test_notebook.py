"""Tests that run the notebook in a new kernel with small settings."""

import json

import nbclient
import nbformat
import pytest

from tests.programs import ROOT, SMALLEST

pytestmark = pytest.mark.e2e

NOTEBOOK = ROOT / "notebooks" / "meranet.ipynb"


def executed(folder, **settings):
    """Returns the executed notebook, with settings changed in its first code cell."""
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


def test_notebook_runs_from_top_to_bottom(tmp_path):
    # A few clips of 20 x 20 pixels are drawn faster.
    flags = [*SMALLEST[1:], "--epochs=2", "--devices=1", "--size=20"]
    notebook = executed(tmp_path, DATASET="synthetic/sketch", FLAGS=flags)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.text for output in outputs if "text" in output)
    run = tmp_path / "runs" / "notebook-synthetic-sketch-small"
    report = json.loads((run / "report.json").read_text())
    # Printed by train.py and by eval.py.
    accuracy = f"accuracy: {report['metrics']['accuracy']['mean']:.3f}"
    assert printed.count(accuracy) == 2 and "epoch 2/2" in printed
    kinds = [set(output.data) for output in outputs if "data" in output]
    images = [kind & {"image/png", "image/gif"} for kind in kinds]
    # Clips, learning curves, confusion matrix, overview of maps, an animation, and the
    # candidates in a video.
    assert images == 4 * [{"image/png"}] + [{"image/gif"}, set()]
    (shown,) = (
        o.data["text/html"] for o in outputs if "text/html" in o.get("data", {})
    )
    assert "video.mp4: 1 candidate" in shown and "data:image/png;base64," in shown
    assert (run / "saliency" / "overview.png").exists()


def test_notebook_stops_if_a_program_fails(tmp_path):
    with pytest.raises(nbclient.exceptions.CellExecutionError) as caught:
        executed(tmp_path, DATASET="nothing", MANUAL_DIR=str(tmp_path))
    assert "train.py failed with exit status 1; see its output above." in str(
        caught.value
    )


def test_notebook_is_stored_without_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs") and not cell.get("execution_count")
