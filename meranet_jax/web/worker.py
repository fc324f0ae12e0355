"""The process that analyses one recording, or exports its files, within limits.

``python -m meranet_jax.web.worker predict FOLDER`` prints a JSON object a line: how far
it is, or the one sentence that says why it failed, and whether the video is the reason:
then another analysis would fail, too. The page's server starts it, so that
a decoder that fails or takes all memory ends this process only.
"""

import contextlib
import dataclasses
import json
import math
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av

from meranet_jax import cores
from meranet_jax.errors import DataError, UserError, explain, explain_out_of_memory
from meranet_jax.prediction.results import Event, Prediction
from meranet_jax.video.containers import open_video
from meranet_jax.web import corrections, page_data, saved_prediction
from meranet_jax.web.job_files import JobFiles

# Number of candidates that get pictures, the strongest ones
_PICTURES = 20

# Seconds between two reports of how far it is, of the stages that report each frame
_EVERY = 0.2
_EACH_FRAME = ("motion", "cutting")

# What a stage is called, how far it is and, in the same unit, how far it goes, if that
# is known
Report = Callable[[str, float | None, float | None], None]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a worker is asked for.

    Attributes:
      files: of the recording.
      video: the recording.
      name: of the video, which is written into exports.
      run: run folder; None for the weights of the package.
      recorded: whether the recording was made with the webcam, so that the user has no
        other copy of it.
    """

    files: JobFiles
    video: Path
    name: str
    run: str | None
    recorded: bool


# Analyses the recording, and writes the files of predict.py. Returns what was found,
# and what candidates are and are not.
Predict = Callable[[Task, Report], tuple[Prediction, str]]


def main(arguments: Sequence[str], predict: Predict | None = None) -> int:
    """Does what the arguments say, and returns the exit status.

    Args:
      arguments: ``predict`` or ``export``, and the folder of the recording.
      predict: replaces the analysis, for tests.
    """
    _end_with_the_server()
    what, folder = arguments
    files = JobFiles(Path(folder))
    # Paths of this machine, which the page does not show, and what it shows
    shown = {f"{files.folder}{os.sep}": ""}
    try:
        asked = json.loads(files.job.read_text(encoding="utf-8"))
        _limit(**asked["limits"])
        video = files.folder / asked["video"]
        run = asked["run_path"]
        if run is not None:
            shown[run] = asked["run"]
        task = Task(files, video, asked["name"], run, asked["recorded"])
        if what == "export":
            _export(task)
        else:
            _analyse(task, predict or _predict)
    except (UserError, OSError) as error:
        # Errors of recognisers are no DataErrors.
        return _failed(explain(error), shown, unusable=isinstance(error, DataError))
    except MemoryError:
        return _failed("There is not enough memory for this recording.")
    except Exception as error:
        traceback.print_exc()
        known = explain_out_of_memory(error)
        return _failed(
            "There is not enough memory for this recording."
            if known
            else "The analysis failed. The recording may be damaged."
        )
    return 0


def _failed(
    sentence: str,
    shown: Mapping[str, str] = MappingProxyType({}),
    *,
    unusable: bool = False,
) -> int:
    for path, name in shown.items():
        sentence = sentence.replace(path, name)
    _say(error=" ".join(sentence.split()), unusable=unusable)
    return 1


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _end_with_the_server() -> None:
    """Ends this process when the server ends, however that happens."""

    def wait() -> None:
        # Not through sys.stdin, whose lock this thread would hold at the end.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _limit(memory: int, seconds: float, file: int) -> None:
    """Limits what this process may take; the user's programs go first.

    Args:
      memory: in bytes.
      seconds: of the clock. The server checks it, too.
      file: size of each file that it writes, in bytes.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        # Of private memory that can be written: an accelerator reserves more addresses
        # than there is memory.
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        cpu = math.ceil(seconds * cores.count())
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file, file))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.nice(5)


def _analyse(task: Task, predict: Predict) -> None:
    _say(stage="preparing")
    with_duration(task.video)
    last, said = 0.0, ""

    def report(stage: str, done: float | None, total: float | None) -> None:
        nonlocal last, said
        if (
            stage != said
            or stage not in _EACH_FRAME
            or time.monotonic() - last >= _EVERY
        ):
            last, said = time.monotonic(), stage
            _say(stage=stage, done=done, total=total)

    prediction, caution = predict(task, report)
    saved_prediction.save(prediction, task.files.prediction)
    page_data.write(prediction, caution, task.files)
    _say(faces=len(prediction.faces))


def _predict(task: Task, report: Report) -> tuple[Prediction, str]:
    # They import JAX, which takes seconds.
    from meranet_jax.prediction import predicting, recogniser, report_text, writer
    from meranet_jax.training import xla
    from meranet_jax.video.stream import open_stream

    xla.configure()
    total = open_stream(task.video).duration or 0.0
    loaded = recogniser.load(task.run)
    # Of an analysis that was interrupted
    for left in task.files.results.parent.glob(f"*{task.files.results.name}*"):
        if left.is_dir():
            shutil.rmtree(left)
    # Numbers of candidates. Those that cannot be cut are asked for, or chosen for a
    # picture, and then neither recognised nor drawn.
    asked = recognised = drawn = 0
    chosen: Collection[int] = ()

    def weights() -> Iterator[Any]:
        # They are needed for each batch of candidates, whose clips have been cut.
        report("recognition", recognised, asked)
        return loaded.weights()

    def choose(events: Sequence[Event]) -> Collection[int]:
        nonlocal asked, chosen
        asked = sum(map(predicting.is_recognised, events))
        chosen = written.choose(events)
        return chosen

    def add(clip: predicting.RecognisedClip) -> None:
        nonlocal recognised, drawn
        recognised += 1
        if clip.event.number in chosen:
            report("drawing", drawn, len(chosen))
            drawn += 1
        # Pictures need weights, too, for which nothing is reported.
        written.add(dataclasses.replace(clip, recogniser=loaded))

    def progress(stage: str, seconds: float) -> None:
        # Clips are cut before they are recognised.
        report("cutting" if stage == "recognition" else stage, seconds, total)

    with writer.writing(task.files.results, _PICTURES) as written:
        prediction = predicting.predict(
            task.video,
            recogniser=dataclasses.replace(loaded, weights=weights),
            on_progress=progress,
            on_events=choose,
            on_clip=add,
        )
        report("writing", None, None)
        # Programs look for the video next to their file.
        shown = dataclasses.replace(
            prediction, source=task.files.results / Path(task.name).name
        )
        written.finish(shown, corrections.STEM)
    return shown, report_text.caution(shown)


def _export(task: Task) -> None:
    files = task.files
    prediction = saved_prediction.load(files.prediction)
    saved = json.loads(files.exported.read_text(encoding="utf-8"))
    intervals = {
        event.number: (event.onset.time, event.offset.time)
        for event in prediction.events
    }
    checked = corrections.check(saved["corrections"], intervals, prediction.duration)
    video = task.video if task.recorded else None
    name = saved["export_name"]
    corrections.export(prediction, checked, files, task.name, name, video)


def with_duration(video: Path) -> None:
    """Gives a recording of a browser a duration and an index.

    A browser writes WebM while it records, so that neither is known. Packets are copied
    and not encoded again. The recording stays as it is if a copy would differ.

    Args:
      video: is replaced if it is Matroska or WebM without a duration.

    Raises:
      OSError: if the copy cannot be written.
      MemoryError: if there is not enough memory.
    """
    part = video.with_name("remuxed.part")
    try:
        with open_video(video) as (container, stream):
            if "matroska" not in container.format.name or container.duration:
                return
            # WebM allows some codecs only; the file is the same otherwise.
            webm = stream.codec_context.name in ("vp8", "vp9", "av1")
            streams = [stream, *container.streams.audio]
            times = []
            with av.open(str(part), "w", format="webm" if webm else "matroska") as made:
                copies = {s.index: made.add_stream_from_template(s) for s in streams}
                for packet in container.demux(streams):
                    if not packet.size:  # the end of a stream
                        continue
                    if packet.stream is stream:
                        times.append(packet.pts * packet.time_base)
                    packet.stream = copies[packet.stream.index]
                    made.mux(packet)
        with open_video(part) as (container, stream):
            copied = [p.pts * p.time_base for p in container.demux(stream) if p.size]
        if copied == times:
            part.replace(video)
    except DataError:
        # As of packets without times: the analysis may read it all the same, and says
        # why if it cannot.
        pass
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
