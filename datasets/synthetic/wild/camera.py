"""How a camera records the pictures of a renderer: noise, exposure, compression."""

import io

import numpy as np
from PIL import Image
from scipy import fft

from datasets.synthetic.time_course import FRAME_RATE
from datasets.synthetic.wild.script import Camera

# Frequency of the flicker of lamps on a mains of 50 Hz
_LAMPS = 100.0


def row_delays(camera: Camera, size: int) -> np.ndarray:
    """Returns the delay of each row after the middle one, in frames, float [size]."""
    rows = (np.arange(size) + 0.5) / size - 0.5
    return rows * camera.readout * FRAME_RATE


def record(
    pictures: np.ndarray,
    numbers: np.ndarray,
    camera: Camera,
    rng: np.random.Generator,
) -> np.ndarray:
    """Records pictures as a camera does.

    Args:
      pictures: float32 [N, H, W, 3], 0 to 255, in the order of time.
      numbers: the frame number of each, int [N].
      camera: the camera.
      rng: draws the noise.

    Returns:
      uint8 [N, H, W, 3].
    """
    rows = row_delays(camera, pictures.shape[1])
    seconds = (numbers[:, None] + rows) / FRAME_RATE  # [N, H]
    lamps = np.sin(2 * np.pi * _LAMPS * seconds + camera.phase)
    exposed = pictures * (
        camera.exposure * (1 + camera.flicker * lamps)[..., None, None]
    ).astype(np.float32)
    deviation = np.sqrt(
        camera.read_noise**2 + camera.shot_noise * np.clip(exposed, 0, None)
    )
    noise = rng.standard_normal(exposed.shape, dtype=np.float32)
    exposed = np.clip(exposed + deviation * noise, 0, 255)
    if camera.codec == "video":
        exposed = _video(exposed, camera.quality)
    frames = np.clip(np.rint(exposed), 0, 255).astype(np.uint8)
    if camera.codec == "jpeg":
        frames = np.stack([_jpeg(frame, camera.quality) for frame in frames])
    return frames


def _jpeg(frame: np.ndarray, quality: float) -> np.ndarray:
    """Returns a frame, uint8 [H, W, 3], as a JPEG of quality 60 to 92 shows it."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=round(60 + 32 * quality))
    return np.asarray(Image.open(file).convert("RGB"))


def _video(frames: np.ndarray, quality: float) -> np.ndarray:
    """Returns frames as a video codec shows them.

    It is a model of a codec, not one: the bytes of a real one depend on its version.
    After the first frame, the difference from the frame before, as it was decoded, is
    quantised in blocks of 8 x 8 in the frequency domain. Small changes are therefore
    delayed until they exceed half a step.

    Args:
      frames: float32 [N, H, W, 3].
      quality: 0 to 1.
    """
    step = 18 - 12 * quality
    n = 8
    height, width = frames.shape[1:3]
    padding = (0, -height % n), (0, -width % n), (0, 0)
    decoded, before = [], None
    i, j = np.mgrid[:n, :n]
    steps = (step * (0.6 + (i + j) / n)).astype(np.float32)
    steps = steps[:, None, :, None]  # broadcasts over columns and channels
    for frame in frames:
        padded = np.pad(frame, padding, mode="edge")
        change = padded - (128 if before is None else before)
        rows, columns = padded.shape[0] // n, padded.shape[1] // n
        # [rows, 8, columns, 8, 3]
        blocks = change.reshape(rows, n, columns, n, 3)
        spectrum = fft.dctn(blocks, axes=(1, 3), norm="ortho")
        scaled = spectrum / steps
        # A dead zone, as encoders have: values below 0.6 of a step become 0.
        whole = np.sign(scaled) * np.floor(np.abs(scaled) + 0.4)
        change = fft.idctn(whole * steps, axes=(1, 3), norm="ortho")
        before = change.reshape(padded.shape) + (128 if before is None else before)
        before = np.clip(before, 0, 255)
        decoded.append(before[:height, :width])
    return np.stack(decoded)
