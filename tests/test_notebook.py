"""Tests that run the notebook in a new kernel with small settings."""

import json

import nbclient
import nbformat
import pytest

from meranet_jax.analysis import notebook
from meranet_jax.errors import UserError
from tests.programs import ROOT, SMALLEST

pytestmark = pytest.mark.e2e

NOTEBOOK = ROOT / "notebooks" / "meranet.ipynb"


def executed(folder, **settings):
    """Returns the executed notebook, with settings changed in its first code cell."""
    document = nbformat.read(NOTEBOOK, as_version=4)
    (first,) = (c for c in document.cells if "parameters" in c.metadata.get("tags", []))
    settings = {"HOME": str(folder), **settings}
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    first.source = "\n".join([first.source, *lines])
    (maps,) = (c for c in document.cells if "--number=3" in c.source)
    maps.source = maps.source.replace("--number=3", "--number=1")  # a clip, not three
    client = nbclient.NotebookClient(
        document, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    client.execute()
    return document


def test_notebook_runs_from_top_to_bottom(tmp_path):
    # The data set with the fewest clips, of 20 x 20 pixels
    flags = [*SMALLEST[1:], "--epochs=2", "--devices=1", "--size=20"]
    document = executed(tmp_path, DATASET="synthetic/photo", FLAGS=flags)
    outputs = [output for cell in document.cells for output in cell.get("outputs", ())]
    printed = "".join(output.text for output in outputs if "text" in output)
    run = tmp_path / "runs" / "notebook-synthetic-photo-small"
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


@pytest.mark.slow  # the next test covers programs that fail
def test_notebook_stops_if_a_program_fails(tmp_path):
    with pytest.raises(nbclient.exceptions.CellExecutionError) as caught:
        executed(tmp_path, DATASET="nothing", MANUAL_DIR=str(tmp_path))
    assert "train.py failed with exit status 1; see its output above." in str(
        caught.value
    )


def test_a_cell_fails_if_a_program_fails(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)  # as the notebook does
    with pytest.raises(UserError) as failed:
        notebook.train(tmp_path / "runs" / "x", "--dataset=nothing")
    message = "train.py failed with exit status 1; see its output above."
    assert message in str(failed.value)
    assert "nothing" in capfd.readouterr().out
    failing = ("-c", "print('in vain'); raise SystemExit(3)")
    with pytest.raises(UserError, match="failed with exit status 3"):
        notebook.run(*failing)
    notebook.run(*failing, may_fail=True)
    assert capfd.readouterr().out.count("in vain") == 2


def test_notebook_is_stored_without_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs") and not cell.get("execution_count")
