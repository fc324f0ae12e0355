"""Images as RGB of 8 bits: decoding, depth, orientation and size.

An image that cannot be converted without guessing is refused by name: a silent change
of a frame would look like motion, or like another face.
"""

import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from meranet_jax.errors import DataError

_ORIENTATION = 0x0112  # EXIF
# TIFF
_NEW_SUBFILE_TYPE, _BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR = 254, 258, 262, 284
_COMPRESSION, _DEFLATE, _JPEG_IN_TIFF = 259, (8, 32946), (6, 7)
_STRIPS_AND_TILES = ((273, 279), (324, 325))
# Modes that Pillow converts to RGB without loss
_EXACT = ("RGB", "L", "1", "P", "YCbCr")
_WITH_ALPHA = ("RGBA", "LA", "PA")
_NAMES = {
    "CMYK": "a CMYK image",
    "LAB": "an L*a*b* image",
    "HSV": "an HSV image",
    "F": "an image of floating-point numbers, whose range is unknown",
    "I": "an image of signed or 32-bit numbers, whose range is unknown",
}
# An image of 16 bits whose values are below a quarter of the range is likely from a
# camera of 12 or 14 bits: scaled as one of 16 bits it would become almost black.
_LEAST_MAXIMUM = 1 << 14
_FEWER_BITS = (
    "it has 16 bits, but its values end at {} of 65535, as those of a camera with "
    "fewer bits; save it with 8 bits, all images of a clip scaled by the same number"
)

# Warnings of libjpeg on unusual files whose pictures are right
_HARMLESS = ("Invalid SOS parameters", "Unknown Adobe color transform")

# Raises, instead of only warning, for an image that would not fit in memory. The filter
# applies to the process, since warnings.catch_warnings is not thread-safe.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

# Clips are already read in parallel.
cv2.setNumThreads(1)


def read_image(path: Path) -> np.ndarray:
    """Reads an image as RGB.

    Grey images of 16 and 12 bits are scaled to 8 bits by the depth that the file gives.
    Colours of 16 bits lose their lower 8 bits. The orientation in EXIF is applied. An
    alpha channel is dropped if nothing is transparent.

    Pillow is used directly, since imageio's plugin takes twice as long for the same
    result. A JPEG is decoded by libjpeg-turbo, as Pillow does, but a warning is an
    error: the picture is wrong from there on.

    Returns:
      uint8 [H, W, 3].

    Raises:
      DataError: if the file is unreadable, truncated or far too large, contains several
        images, is transparent in places, or its values cannot be converted to RGB of 8
        bits without guessing.
    """
    try:
        with Image.open(path) as image:
            if (count := _count_images(image)) > 1:
                raise _NotAFrameError(f"it contains {count} images")
            deep = ";16" in str(image.tile)
            if deep and getattr(image, "tag_v2", {}).get(_PLANAR) == 2:
                raise _NotAFrameError(
                    "its colours of 16 bits are in separate planes; save it as RGB of "
                    "8 bits"
                )
            if image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
                image = _decode_jpeg(path, image)
            _check_sums(path, image)
            # Decode first, since convert also copies an image that is already RGB.
            image.load()
            if image.getexif().get(_ORIENTATION, 1) != 1:
                image = ImageOps.exif_transpose(image)
            rgb = _as_rgb(image)
            if deep and not image.mode.startswith("I;16"):
                check_brightness(rgb)
            return rgb
    except (_NotAFrameError, DataError) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        what = f"it has more than {Image.MAX_IMAGE_PIXELS} pixels"
        raise DataError(f"{path.name} cannot be read: {what}") from error
    except PermissionError as error:
        raise DataError(f"{path.name} cannot be read: permission denied") from error
    except Exception as error:  # decoders raise exceptions of any type on damaged files
        what = f"it is damaged or not an image ({type(error).__name__})"
        raise DataError(f"{path.name} cannot be read: {what}") from error


def _decode_jpeg(path: Path, opened: Image.Image) -> Image.Image:
    """Returns the picture of a JPEG as RGB, with its metadata; raises _NotAFrameError.

    A sector of a disk that reads as zeros, for example, leaves a picture that is grey
    or shifted from there on, which Pillow returns without a word.
    """
    content = path.read_bytes()
    if content[6:11] == b"JFIF\0":
        # The decoder warns of other versions, which have the same pictures.
        content = content[:11] + b"\1\1" + content[13:]
    try:
        rgb = simplejpeg.decode_jpeg(content, "RGB", strict=True)
    except ValueError as error:
        if not any(text in str(error) for text in _HARMLESS):
            raise _NotAFrameError(f"it is damaged ({error})") from error
        rgb = simplejpeg.decode_jpeg(content, "RGB", strict=False)
    image = Image.fromarray(rgb)
    image.info.update(opened.info)  # EXIF is there
    return image


def is_damaged_jpeg(content: bytes) -> bool:
    """Returns whether the decoder sees damage in a JPEG, such as a frame of a video.

    A frame of Motion JPEG may depend on tables that are not in it, which is no damage.
    """
    try:
        simplejpeg.decode_jpeg(content, "GRAY", strict=True)
    except ValueError as error:
        return "Corrupt JPEG data" in str(error) or "Premature end" in str(error)
    return False


def _check_sums(path: Path, image: Image.Image) -> None:
    """Checks the sums of a PNG or a TIFF, which its decoder does not look at.

    Raises:
      _NotAFrameError: if the file is damaged, or its kind cannot be checked.
      Exception: of any type, if it is damaged.
    """
    if image.format == "PNG":
        with Image.open(path) as opened:
            opened.verify()
    if image.format != "TIFF":
        return
    tags = image.tag_v2
    if (compression := tags.get(_COMPRESSION, 1)) in _JPEG_IN_TIFF:
        raise _NotAFrameError(
            "it is a JPEG inside of a TIFF, in which damage cannot be seen; save it as "
            "a JPEG or without compression"
        )
    if compression in _DEFLATE:
        content = path.read_bytes()
        for offsets, counts in _STRIPS_AND_TILES:
            for offset, count in zip(
                tags.get(offsets, ()), tags.get(counts, ()), strict=True
            ):
                zlib.decompress(content[offset : offset + count])


def check_brightness(image: np.ndarray) -> None:
    """Checks that an image of 16 bits uses its range, after its reduction to 8.

    Args:
      image: uint8 [H, W, 3].

    Raises:
      DataError: if its values are likely those of a camera with fewer bits.
    """
    most = int(image.max())
    if 0 < most < _LEAST_MAXIMUM >> 8:
        raise DataError(_FEWER_BITS.format(most * 257))


class _NotAFrameError(Exception):
    """An image that is not damaged, but cannot be used as a frame."""


def _count_images(image: Image.Image) -> int:
    """Counts the images of a file, without smaller copies of one."""
    if image.format == "MPO":  # a photograph of a phone with its previews
        return 1
    count = pages = getattr(image, "n_frames", 1)
    if image.format == "TIFF" and pages > 1:
        for page in range(1, pages):
            image.seek(page)
            count -= image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & 1
        image.seek(0)
    return count


def _as_rgb(image: Image.Image) -> np.ndarray:
    """Converts a decoded image to uint8 [H, W, 3]; raises _NotAFrameError."""
    if image.mode.startswith("I;16"):
        grey = _to_8_bits(image)
        return np.repeat(grey[..., None], 3, axis=-1)
    image_format = image.format  # converted images have none
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        least, most = image.getchannel("A").getextrema()
        # Programs that capture a screen leave the fourth byte of a BMP at zero.
        unused = image_format == "BMP" and most == 0
        if least < 255 and not unused:
            raise _NotAFrameError(
                "it is transparent in places; save it without transparency"
            )
        return np.asarray(image.convert("RGB"))
    if image.mode not in _EXACT:
        kind = _NAMES.get(image.mode, f"an image of Pillow's mode {image.mode}")
        raise _NotAFrameError(f"it is {kind}; save it as RGB or grey of 8 bits")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _to_8_bits(image: Image.Image) -> np.ndarray:
    """Scales a grey image of more than 8 bits by its depth: uint8 [H, W]."""
    values = np.asarray(image).astype(np.uint32)
    tags = getattr(image, "tag_v2", {})
    bits = int(tags.get(_BITS_PER_SAMPLE, (16,))[0])
    most = int(values.max())
    if bits == 16 and 0 < most < _LEAST_MAXIMUM:
        raise _NotAFrameError(_FEWER_BITS.format(most))
    white = (1 << bits) - 1
    if tags.get(_PHOTOMETRIC) == 0:  # zero is white
        values = white - values
    return ((values * 255 + white // 2) // white).astype(np.uint8)


def orient(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turns and mirrors a frame of a video as its player would.

    Args:
      image: [H, W, C].
      matrix: a, b, c, d of a video's display matrix: pixel (x, y) is shown at (a x + c
        y, b x + d y), x to the right and y downwards.

    Returns:
      [H, W, C] or [W, H, C].

    Raises:
      DataError: if the frame would not be turned by a multiple of 90 degrees.
    """
    a, b, c, d = matrix
    if (a and b) or (c and d) or (a and c) or not (a or b) or not (c or d):
        raise DataError(
            "its frames are rotated by an angle that is not a multiple of 90 degrees"
        )
    if not a:  # x becomes y
        image = image.swapaxes(0, 1)
    rows, columns = (d, a) if a else (b, c)
    if rows < 0:
        image = image[::-1]
    if columns < 0:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resizes an image by area averaging.

    Each pixel is weighted by its overlap with the new pixel, which avoids aliasing and
    preserves the size of sub-pixel motion. A smaller image is interpolated bilinearly.

    Args:
      image: uint8 [H, W, 3].
      size: height and width of the result in pixels.

    Returns:
      uint8 [size, size, 3].
    """
    shrinks = min(image.shape[:2]) >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=method)
