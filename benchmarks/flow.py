"""Error and time of optical flow: ``python -m benchmarks.flow``.

The flow of clips of ``synthetic`` is compared with the displacement from which they are
rendered. Faces are drawn by ``datasets/synthetic``; a quarter of the clips shows
scikit-image's astronaut, a photograph. Expressions, time courses and the motion of the
head are those of ``synthetic``; in addition the head comes nearer or moves away. The
reference is the onset. Up to four frames of a clip are measured, evenly spaced over
those where the expression has at least half of its intensity.

- error: mean distance from the true motion of the expression after
  ``remove_global_motion``, over the moving region, where the motion is at least a
  quarter of the frame's maximum; ``error_90``: its 90th percentile; ``face_error``:
  over the face.
- raw_error: before it, with the motion of the head in both.
- direction: mean cosine between the estimated and the true motion, over the moving
  region.
- motion: mean true motion in the moving region, the error of a flow of zero.

In the part "global motion" the flow of the default method is given to several models of
the motion of the head. With a still background, the head moves in front of it.
"""

import concurrent.futures
import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import skimage
import tyro
from scipy import ndimage
from skimage.registration import optical_flow_tvl1

from benchmarks import rows
from datasets.synthetic import face, motion
from meranet_jax.inputs import optical_flow
from meranet_jax.video import sampling

_AMPLITUDES = ((0.2, 0.6), (0.5, 1.5), (1.0, 3.0))
_NOISES = (0.0, 2.0, 4.0)
# Motion of the head: shift in pixels, and its angle as in ``synthetic``; brightness.
_DRIFT, _FLICKER = 1.5, 0.015
_APPROACH = 0.003  # relative size of the head at its maximum, for a drift of one pixel

_COLUMNS = ("part", "method", "setting", "background", "amplitude", "noise", "clips")
_COLUMNS += ("motion", "raw_error", "error", "error_90", "face_error", "direction")
_COLUMNS += ("ms of a core", "ms on two cores")

_MEASURES = ("motion", "raw_error", "error", "error_90", "face_error", "direction")


@dataclasses.dataclass(frozen=True)
class _Clip:
    """A clip with its true motion.

    Attributes:
      reference: uint8 [H, W, 3].
      frames: uint8 [T, H, W, 3].
      flow: float [T, H, W, 2], of the head and the expression.
      expression: float [T, H, W, 2], of the expression alone.
      face: bool [H, W].
    """

    reference: np.ndarray
    frames: np.ndarray
    flow: np.ndarray
    expression: np.ndarray
    face: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Setting:
    """A method with its parameters, and the images that it gets."""

    method: str
    name: str
    between: Callable[[np.ndarray, np.ndarray], np.ndarray]
    blur: float = float(optical_flow.IMAGES["blur"])
    deviation: float = float(optical_flow.IMAGES["deviation"])
    weights: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    match: bool = True
    enlarge: int = 1

    def __call__(self, reference: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Returns the flow, [T, H, W, 2]."""
        grey = [image @ np.float32(self.weights) for image in (reference, *frames)]
        mean, deviation = grey[0].mean(), grey[0].std()
        images = []
        for image in grey:
            if self.match:
                image = image * (mean / image.mean())
            if self.deviation:
                image = (image - mean) * (self.deviation / deviation) + 128
            image = image.astype(np.float32)
            if self.enlarge > 1:
                image = cv2.resize(
                    image,
                    None,
                    fx=self.enlarge,
                    fy=self.enlarge,
                    interpolation=cv2.INTER_CUBIC,
                )
            if self.blur:
                image = cv2.GaussianBlur(image, (0, 0), self.blur * self.enlarge)
            images.append(image)
        flow = [self.between(images[0], image) for image in images[1:]]
        if self.enlarge > 1:
            size = reference.shape[1::-1]
            flow = [
                cv2.resize(field, size, interpolation=cv2.INTER_AREA) / self.enlarge
                for field in flow
            ]
        return np.stack(flow)


def main(
    faces: int = 3,
    repetitions: int = 10,
    only: str = "",
    save: bool = True,
) -> None:
    """Measure methods and parameters of optical flow.

    Args:
      faces: Number of drawn faces. Each has one clip of each emotion at each amplitude
        and noise; so has the photograph.
      repetitions: Number of time measurements of each setting. The minimum is reported.
      only: Measure only settings whose method and name contain this text, and the
        models of the motion of the head.
      save: Whether to write rows to benchmarks/results/flow.csv.
    """
    table = rows.Table("flow", _COLUMNS, backend="cpu") if save else None
    cv2.setNumThreads(1)
    people = [face.draw_face(np.random.default_rng((7, i))) for i in range(faces)]
    people.append(_astronaut())

    settings = [s for s in _settings() if only in f"{s.method}, {s.name}"]
    times = _times(settings, people[0], repetitions)
    clips = {
        (background, amplitude, noise): [
            _clip(person, emotion, amplitude, noise, background, (index, number))
            for index, person in enumerate(people)
            for number, emotion in enumerate(motion.EMOTIONS)
        ]
        for background in ("moving", "still")
        for amplitude in _AMPLITUDES
        for noise in (_NOISES if background == "moving" else _NOISES[1:2])
    }

    def measure(part, method, name, estimate, remove, background, milliseconds):
        """Prints and writes the rows of a setting."""
        measured = {}
        for (where, amplitude, noise), some in clips.items():
            if where != background or (part == "global motion" and noise != _NOISES[1]):
                continue
            values = np.mean([_measure(clip, estimate, remove) for clip in some], 0)
            measured[amplitude, noise] = dict(zip(_MEASURES, values, strict=True))
            row = dict(part=part, method=method, setting=name, background=background)
            row |= {"amplitude": "{:g} to {:g}".format(*amplitude), "noise": noise}
            row |= {"clips": len(some)} | measured[amplitude, noise]
            row |= {"ms of a core": milliseconds[0], "ms on two cores": milliseconds[1]}
            if table:
                table.append(row)
        cells = [
            f"{value['error'] / value['motion']:.0%} {value['direction']:.2f}"
            for value in measured.values()
        ]
        shown = [f"{value:.0f}" for value in milliseconds if value is not None]
        print(f"| {method} | {name} |", " | ".join([*cells, *shown]), "|", flush=True)

    print("error divided by the motion, and direction, by amplitude and noise")
    for setting, milliseconds in zip(settings, times, strict=True):
        remove = optical_flow.remove_global_motion
        with_setting = ("flow", setting.method, setting.name, setting)
        measure(*with_setting, remove, "moving", milliseconds)
    default = optical_flow.DEFAULT
    estimate = functools.partial(_once, {}, optical_flow.estimate)
    for background in ("moving", "still"):
        print(f"global motion, {background} background, by amplitude")
        for name, remove in _REMOVERS.items():
            with_model = ("global motion", default, name, estimate, remove)
            milliseconds = _time_of_removal(remove, repetitions)
            measure(*with_model, background, (milliseconds, None))


def _settings() -> Iterator[_Setting]:
    """Yields what is measured; the module's own parameters are the first of each."""
    own = optical_flow
    farneback = own.FARNEBACK
    trials = farneback | {"winsize": 11}
    plain = {"blur": 0.0, "deviation": 0.0, "weights": (0.299, 0.587, 0.114)}
    plain["match"] = False
    yield _Setting("farneback", "window 21 (ours)", _farneback(**farneback))
    for window in (9, 11, 15, 31):
        name = f"window {window}"
        yield _Setting("farneback", name, _farneback(**farneback | {"winsize": window}))
    yield _Setting("farneback", "window 11, unprepared", _farneback(**trials), **plain)
    yield _Setting(
        "farneback",
        "window 31, Gaussian",
        _farneback(**farneback | {"winsize": 31}, flags=cv2.OPTFLOW_FARNEBACK_GAUSSIAN),
    )
    poly = {"poly_n": 7, "poly_sigma": 1.5}
    yield _Setting("farneback", "window 21, poly 7", _farneback(**farneback | poly))
    yield _Setting(
        "farneback",
        "window 42, enlarged",
        _farneback(**farneback | {"winsize": 42}),
        enlarge=2,
    )

    yield _Setting("dis", "ours", _dis(1, **own.DIS))
    for preset, name in enumerate(("ultrafast", "fast", "medium")):
        for scale in (1, 0):
            yield _Setting(
                "dis", f"{name}, finest scale {scale}", _dis(preset, FinestScale=scale)
            )
    yield _Setting("dis", "medium, unprepared", _dis(2), **plain)
    for what in (
        {"PatchSize": 8, "PatchStride": 4},
        {"PatchSize": 10, "PatchStride": 6},
        {"PatchSize": 12, "PatchStride": 8},
        {"PatchStride": 4},
        {"GradientDescentIterations": 12},
        {"VariationalRefinementIterations": 0},
        {"VariationalRefinementIterations": 1},
        {"VariationalRefinementIterations": 5},
        {"VariationalRefinementAlpha": 10.0},
        {"UseMeanNormalization": False},
    ):
        name = ", ".join(f"{key} {value}" for key, value in what.items())
        yield _Setting("dis", f"ours, {name}", _dis(1, **own.DIS | what))
    ours = _dis(1, **own.DIS)
    for name, what in {
        "luma": {"weights": (0.299, 0.587, 0.114)},
        "green": {"weights": (0.0, 1.0, 0.0)},
        "brightness unmatched": {"match": False},
        "contrast as it is": {"deviation": 0.0},
        "no blur": {"blur": 0.0},
        "blur 1": {"blur": 1.0},
        "enlarged": {"enlarge": 2},
    }.items():
        yield dataclasses.replace(_Setting("dis", f"ours, {name}", ours), **what)

    yield _Setting("tvl1", "ours", _tvl1(**own.TVL1))
    yield _Setting("tvl1", "unprepared", _tvl1(**own.TVL1), **plain)


def _farneback(**parameters) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    parameters = {"flags": 0} | parameters
    return lambda a, b: cv2.calcOpticalFlowFarneback(a, b, None, **parameters)


def _dis(preset: int, **properties) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    own = threading.local()

    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if not hasattr(own, "dis"):
            own.dis = cv2.DISOpticalFlow_create(preset)
            for name, value in properties.items():
                getattr(own.dis, f"set{name}")(value)
        a, b = (np.rint(np.clip(image, 0, 255)).astype(np.uint8) for image in (a, b))
        return own.dis.calc(a, b, None)

    return between


def _tvl1(**parameters) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        v, u = optical_flow_tvl1(a / 255, b / 255, **parameters)
        return np.stack([u, v], -1)

    return between


_REMOVERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "median": lambda flow: flow - np.median(flow, (1, 2), keepdims=True),
    **{
        model: functools.partial(optical_flow.remove_global_motion, model=model)
        for model in ("rigid", "similarity", "affine")
    },
}


def _times(
    settings: list[_Setting], person: face.Face, repetitions: int
) -> list[tuple[float, float]]:
    """Measures settings in turns with a clip of 16 frames.

    Returns:
      For each setting the minimum in milliseconds a clip: of the CPU time of one
      thread, and of the time of two threads with a clip each, divided by two.
    """
    clip = _clip(person, "happiness", (1.0, 3.0), 2.0, "moving", (0, 0), 16)
    alone = np.full((len(settings), repetitions), np.inf)
    two = np.full((len(settings), repetitions), np.inf)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for repetition in range(repetitions):
            for index, setting in enumerate(settings):
                if setting.method == "tvl1" and repetition > 1:
                    continue
                start = time.thread_time()
                setting(clip.reference, clip.frames)
                alone[index, repetition] = time.thread_time() - start
                start = time.perf_counter()
                both = [
                    pool.submit(setting, clip.reference, clip.frames) for _ in range(2)
                ]
                concurrent.futures.wait(both)
                two[index, repetition] = (time.perf_counter() - start) / 2
    return [
        (float(a) * 1e3, float(b) * 1e3)
        for a, b in zip(alone.min(1), two.min(1), strict=True)
    ]


def _time_of_removal(remove: Callable, repetitions: int) -> float:
    """Returns the minimum in milliseconds of CPU time for a clip of 16 frames."""
    shape = (16, face.FRAME, face.FRAME, 2)
    flow = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    seconds = []
    for _ in range(repetitions):
        start = time.thread_time()
        remove(flow)
        seconds.append(time.thread_time() - start)
    return min(seconds) * 1e3


def _once(known: dict, estimate, reference: np.ndarray, frames: np.ndarray):
    """Returns the flow of a clip, which is computed once."""
    if id(frames) not in known:
        known[id(frames)] = estimate(reference, frames)
    return known[id(frames)]


def _measure(clip: _Clip, estimate, remove) -> list[float]:
    """Returns the values of ``_MEASURES`` for a clip."""
    flow = estimate(clip.reference, clip.frames)
    raw = np.linalg.norm(flow - clip.flow, axis=-1)
    flow, truth = remove(flow), clip.expression
    error = np.linalg.norm(flow - truth, axis=-1)
    size = np.linalg.norm(truth, axis=-1)
    lengths = np.maximum(np.linalg.norm(flow, axis=-1) * size, 1e-9)
    cosine = (flow * truth).sum(-1) / lengths
    moving = size >= size.max((1, 2), keepdims=True) / 4
    return [
        size[moving].mean(),
        raw[moving].mean(),
        error[moving].mean(),
        np.percentile(error[moving], 90),
        error[:, clip.face].mean(),
        cosine[moving].mean(),
    ]


def _clip(
    person: face.Face,
    emotion: str,
    amplitude: tuple[float, float],
    noise: float,
    background: str,
    key: tuple[int, int],
    number: int = 4,
) -> _Clip:
    """Renders a clip and computes its true motion.

    Points of the face are moved by the expression, then by the head, so that the point
    at m of the neutral face is at H(m + d) if d is the displacement at m + d, as in
    ``datasets/synthetic``.
    """
    rng = np.random.default_rng((11, *key))
    course = motion.draw_time_course(rng)
    field = motion.displacement(person, emotion, float(rng.uniform(*amplitude)), rng)
    numbers = sampling.clip_frame_numbers(
        sampling="apex",
        frames=16,
        window=32,
        onset=course.onset,
        apex=course.apex,
        offset=course.offset,
        first=1,
        last=course.last,
    )
    if number < len(numbers):
        strong = [n for n in numbers if course.intensity(n) >= 0.5]
        numbers = np.unique(np.linspace(0, len(strong) - 1, number).round().astype(int))
        numbers = np.array(strong)[numbers]
    numbers = np.array([course.onset, *numbers])
    shifts, angles = motion.head_motion(numbers, _DRIFT, rng)
    scales = _DRIFT * _APPROACH * np.sin(numbers / 25 + rng.uniform(0, 2 * np.pi))
    steps = np.arange(face.FRAME) + 0.5
    x, y = np.meshgrid(steps, steps)
    centre = np.array(person.centre)
    pixels = np.stack([x, y], -1)  # [H, W, 2]
    heads = [
        _Head(centre, shift, angle, 1 + scale)
        for shift, angle, scale in zip(shifts, angles, scales, strict=True)
    ]
    frames = []
    for n, head in zip(numbers, heads, strict=True):
        places = head.inverse(pixels)
        moved = places - _at(field, places) * course.intensity(n)
        picture = _picture(person, moved)
        if background == "still":
            still = _picture(person, pixels)
            # The head with its hair, with an edge of two pixels
            radius = np.array([1.2, 1.55]) * person.radius
            outside = np.linalg.norm((places - centre + [0, 8]) / radius, axis=-1)
            cover = np.clip((1.03 - outside) / 0.06, 0, 1)[..., None]
            picture = cover * picture + (1 - cover) * still
        picture = picture * (1 + _FLICKER * rng.standard_normal())
        picture = picture + noise * rng.standard_normal(picture.shape)
        frames.append(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    neutral = heads[0].inverse(pixels)
    flow, rigid = [], []
    for n, head in zip(numbers[1:], heads[1:], strict=True):
        places = neutral
        for _ in range(8):
            places = neutral + _at(field, places) * course.intensity(n)
        flow.append(head(places) - pixels)
        rigid.append(head(neutral) - pixels)
    inside = np.linalg.norm((pixels - centre) / [1, 1.3], axis=-1) < person.radius
    return _Clip(
        frames[0],
        np.stack(frames[1:]),
        np.stack(flow),
        np.stack(flow) - np.stack(rigid),
        inside,
    )


@dataclasses.dataclass(frozen=True)
class _Head:
    """A motion of the head: x -> centre + shift + scale R(angle) (x - centre)."""

    centre: np.ndarray
    shift: np.ndarray
    angle: float
    scale: float

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """Moves positions [..., 2]."""
        turned = (places - self.centre) @ self._turn().T
        return self.scale * turned + self.centre + self.shift

    def inverse(self, places: np.ndarray) -> np.ndarray:
        """Moves positions [..., 2] back."""
        turned = (places - self.centre - self.shift) @ self._turn()
        return turned / self.scale + self.centre

    def _turn(self) -> np.ndarray:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])


def _at(field: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Interpolates a field [H, W, 2] at positions [..., 2]."""
    coordinates = (places[..., 1] - 0.5, places[..., 0] - 0.5)
    return np.stack(
        [ndimage.map_coordinates(field[..., i], coordinates, order=1) for i in (0, 1)],
        -1,
    )


def _picture(person: face.Face, places: np.ndarray) -> np.ndarray:
    """Samples the image of a face at positions [..., 2]."""
    coordinates = [
        (places[..., i] + face.MARGIN) * face.SUPERSAMPLING - 0.5 for i in (1, 0)
    ]
    return np.stack(
        [
            ndimage.map_coordinates(
                person.image[..., c], coordinates, order=1, mode="nearest"
            )
            for c in range(3)
        ],
        -1,
    )


def _astronaut() -> face.Face:
    """Returns scikit-image's astronaut as a face; landmarks were set by hand."""
    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    picture = iio.imread(path)[..., :3].astype(np.float32)
    scale = 110 / 64  # its face is 110 pixels wide, ours about 64
    middle = np.array([225.0, 130.0])

    def place(x: float, y: float) -> tuple[float, float]:
        x, y = (np.array([x, y]) - middle) / scale + face.FRAME / 2
        return float(x), float(y)

    steps = np.arange((face.FRAME + 2 * face.MARGIN) * face.SUPERSAMPLING) + 0.5
    steps = steps / face.SUPERSAMPLING - face.MARGIN - face.FRAME / 2
    x, y = np.meshgrid(steps * scale + middle[0], steps * scale + middle[1])
    image = np.stack(
        [
            ndimage.map_coordinates(picture[..., c], (y, x), order=1, mode="nearest")
            for c in range(3)
        ],
        -1,
    )
    blur = 0.45 * face.SUPERSAMPLING  # as for drawn faces
    image = ndimage.gaussian_filter(image, (blur, blur, 0)).astype(np.float32)
    landmarks = {
        "brow_middle": place(226, 88),
        "nose_bridge": place(226, 112),
        "lip_upper": place(226, 152),
        "lip_lower": place(226, 166),
        "chin": place(226, 185),
    }
    pairs = {
        "brow_inner": (12, 88),
        "brow_outer": (34, 90),
        "eye": (22, 101),
        "lid_lower": (22, 107),
        "cheek": (28, 130),
        "nostril": (10, 135),
        "mouth_corner": (20, 158),
    }
    for name, (side, y) in pairs.items():
        landmarks[f"{name}_left"] = place(226 - side, y)
        landmarks[f"{name}_right"] = place(226 + side, y)
    return face.Face(image, landmarks, radius=30.0, centre=place(226, 130))


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
