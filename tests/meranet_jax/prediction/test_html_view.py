"""What a notebook shows of a prediction."""

import base64
import re
import xml.etree.ElementTree as ElementTree

from tests.meranet_jax.prediction.predictions import event, prediction


def test_a_notebook_shows_timeline_and_candidates():
    made = prediction(
        [event(1, 0.4, 0.5, 0.7, origin="imported", label="<b>brow & lip")]
    )
    shown = made._repr_html_()
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    document = ElementTree.fromstring(f"<div>{shown}</div>")
    (row,) = [row for row in document.iter("tr") if row.find("td") is not None]
    cells = [cell.text for cell in row]
    assert cells[2] == "imported micro interval <b>brow & lip"
    assert cells[3] == "0.400 s (frame 13)"
    said = [one.text for one in document.iter("p")]
    assert said[0].startswith(f"{made.source.name}: 1 candidate")
    assert said[1:] == [*made.notes, *made.recogniser.limits]


def test_a_prediction_without_candidates_has_no_table():
    assert "<table>" not in prediction(())._repr_html_()
