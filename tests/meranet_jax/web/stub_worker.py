"""A worker whose analysis is made by hand and takes as long as a recording's name says.

``python -m tests.meranet_jax.web.stub_worker predict FOLDER``
"""

import dataclasses
import errno
import os
import sys
import time

from PIL import Image

from meranet_jax.errors import DataError, UserError
from meranet_jax.video.containers import open_video
from meranet_jax.web import corrections, worker
from tests.meranet_jax.prediction.predictions import prediction


def predict(task, report):
    """Finds three candidates in any recording; ``slow`` in its name makes it wait."""
    if "broken" in task.name:
        raise DataError(f"{task.video} cannot be read: it is damaged")
    if "recogniser" in task.name:
        raise UserError("the recogniser cannot be used")
    if "full" in task.name:
        with open_video(task.video):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "fault" in task.name:
        raise RuntimeError("a bug")
    if "memory" in task.name:
        bytearray(8 << 30)  # more than the limit of the test
    for step in range(600 if "slow" in task.name else 1):
        report("motion", step / 10, 60.0)
        if "slow" in task.name:
            time.sleep(0.1)
    if "many" in task.name:
        report("recognition", 0, 40)
        time.sleep(1)
        report("drawing", 1, 4)
        time.sleep(60)
    task.files.pictures.mkdir(parents=True)
    Image.new("RGB", (640, 200), "grey").save(task.files.pictures / "0001.png")
    Image.new("RGB", (224, 224), "grey").save(task.files.pictures / "0001.gif")
    (task.files.results / "events.json").write_text("{}")
    (task.files.results / f"{corrections.STEM}.boris").write_text("{}")
    if "empty" in task.name:
        note = "No face was found. Faces must be upright."
        return prediction((), faces=(), notes=(note,)), "A class names clips."
    found = prediction(source=task.files.results / task.name)
    first, second, third = found.events
    clear = dataclasses.replace(second.recognition, distinct=second.recognition.frames)
    second = dataclasses.replace(second, recognition=clear)
    found = dataclasses.replace(found, events=(first, second, third))
    return (
        found,
        "Most candidates in recordings of people are **not micro-expressions**.",
    )


if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:], predict))
