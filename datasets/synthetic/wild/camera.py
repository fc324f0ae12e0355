"""How a camera records the pictures of a renderer: noise, exposure, compression."""

import io

import numpy as np
from PIL import Image
from scipy import fft

from datasets.synthetic.time_course import FRAME_RATE
from datasets.synthetic.wild.script import Camera

# Frequency of the flicker of lamps on a mains of 50 Hz
_LAMPS = 100.0

# Height and width of the blocks of the video codec
_BLOCK = 8


def row_delays(camera: Camera, size: int) -> np.ndarray:
    """Returns the delay of each row after the middle one, in frames, float [size]."""
    rows = (np.arange(size) + 0.5) / size - 0.5
    return rows * camera.readout * FRAME_RATE


def record(
    pictures: np.ndarray,
    numbers: np.ndarray,
    camera: Camera,
    *,
    key_frame: int,
    seed: int,
) -> np.ndarray:
    """Records pictures as a camera does.

    A recorded frame does not depend on the other frames, except for the key frame.

    Args:
      pictures: float32 [N, H, W, 3], 0 to 255.
      numbers: the frame number of each, int [N].
      camera: the camera.
      key_frame: number of the frame from which a video codec predicts the others.
      seed: of the noise.

    Returns:
      uint8 [N, H, W, 3].
    """
    rows = row_delays(camera, pictures.shape[1])
    seconds = (numbers[:, None] + rows) / FRAME_RATE  # [N, H]
    lamps = np.sin(2 * np.pi * _LAMPS * seconds + camera.phase)
    gain = camera.exposure * (1 + camera.flicker * lamps)
    exposed = pictures * gain[..., None, None].astype(np.float32)
    variance = camera.read_noise**2 + camera.shot_noise * np.clip(exposed, 0, None)
    noise = np.stack(
        [
            np.random.default_rng((seed, number)).standard_normal(
                pictures.shape[1:], dtype=np.float32
            )
            for number in numbers.tolist()
        ]
    )
    exposed = np.clip(exposed + np.sqrt(variance) * noise, 0, 255)
    if camera.codec == "video":
        first = numbers.tolist().index(key_frame)
        exposed = _video(exposed, exposed[first], camera.quality)
    frames = np.clip(np.rint(exposed), 0, 255).astype(np.uint8)
    if camera.codec == "jpeg":
        frames = np.stack([_jpeg(frame, camera.quality) for frame in frames])
    return frames


def _jpeg(frame: np.ndarray, quality: float) -> np.ndarray:
    """Returns a frame, uint8 [H, W, 3], as a JPEG of quality 60 to 92 shows it."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=round(60 + 32 * quality))
    return np.asarray(Image.open(file).convert("RGB"))


def _video(frames: np.ndarray, key_frame: np.ndarray, quality: float) -> np.ndarray:
    """Returns frames as a video codec shows them.

    This models a codec, since the bytes of a real one depend on its version. The key
    frame, and the difference of each other frame from the decoded key frame, are
    quantised in blocks of 8 x 8 in the frequency domain. A change is shown if it
    exceeds 0.6 of a quantisation step.

    Args:
      frames: float32 [N, H, W, 3].
      key_frame: float32 [H, W, 3].
      quality: 0 to 1.
    """
    step = 18 - 12 * quality
    base = 128 + _quantise(key_frame - 128, step)
    return np.stack([base + _quantise(frame - base, step) for frame in frames])


def _quantise(picture: np.ndarray, step: float) -> np.ndarray:
    """Quantises a picture, float32 [H, W, 3], in blocks in the frequency domain.

    Args:
      picture: any values.
      step: mean quantisation step; higher frequencies have larger ones.
    """
    n = _BLOCK
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, -height % n), (0, -width % n), (0, 0)), mode="edge")
    # [rows, 8, columns, 8, 3]
    blocks = padded.reshape(padded.shape[0] // n, n, padded.shape[1] // n, n, 3)
    i, j = np.mgrid[:n, :n]
    steps = (step * (0.6 + (i + j) / n)).astype(np.float32)
    steps = steps[:, None, :, None]  # broadcasts over columns and channels
    scaled = fft.dctn(blocks, axes=(1, 3), norm="ortho") / steps
    # Encoders have a dead zone: values below 0.6 become 0.
    whole = np.sign(scaled) * np.floor(np.abs(scaled) + 0.4)
    decoded = fft.idctn(whole * steps, axes=(1, 3), norm="ortho")
    return decoded.reshape(padded.shape)[:height, :width]
