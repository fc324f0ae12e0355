"""What a notebook shows of a prediction: the timeline, and a table of candidates."""

import base64
import html
from collections.abc import Sequence

from meranet_jax.prediction import report_text, timeline, wording
from meranet_jax.prediction.results import Event, Prediction


def describe(prediction: Prediction) -> str:
    """Returns HTML that needs no other file and runs no script."""
    picture = base64.b64encode(timeline.png(prediction)).decode("ascii")
    parts = [
        _element("p", report_text.headline(prediction)),
        f'<img alt="motion over time" src="data:image/png;base64,{picture}"/>',
    ]
    if prediction.events:
        parts.append(_table(prediction))
    parts += [_element("p", note) for note in prediction.notes]
    if prediction.recogniser is not None:
        parts += [_element("p", one) for one in prediction.recogniser.limits]
    return "\n".join(parts)


def _table(prediction: Prediction) -> str:
    head = ["no.", "face", "type", "onset", "apex", "offset", "result", "flags"]
    rows = [_row(head, "th")]
    rows += [_row(_cells(event, prediction), "td") for event in prediction.events]
    return "<table>\n" + "\n".join(rows) + "\n</table>"


def _cells(event: Event, prediction: Prediction) -> list[str]:
    return [
        str(event.number),
        str(event.face),
        " ".join(filter(None, (wording.what(event), event.label))),
        *map(wording.moment, (event.onset, event.apex, event.offset)),
        wording.resemblance(event, prediction.recogniser),
        ", ".join(event.flags),
    ]


def _row(cells: Sequence[str], name: str) -> str:
    return "<tr>" + "".join(_element(name, cell) for cell in cells) + "</tr>"


def _element(name: str, text: str) -> str:
    return f"<{name}>{html.escape(text)}</{name}>"
