"""An image becomes RGB of 8 bits exactly, or is refused by name."""

import fractions
import io
import struct

import av
import cv2
import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from datasets import DataError
from meranet_jax.video.frames import open_recording
from meranet_jax.video.images import read_image

# From black to white in 64 steps
GREY = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)


def expanded(grey):
    return np.repeat(grey[..., None], 3, axis=-1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
def test_grey_of_16_bits_is_scaled_to_8(tmp_path, suffix):
    path = tmp_path / f"1{suffix}"
    deep = GREY.astype(np.uint16) * 257
    path.write_bytes(cv2.imencode(suffix.lower(), deep)[1])
    assert (read_image(path) == expanded(GREY)).all()


def test_colours_of_16_bits_are_scaled_to_8(tmp_path):
    path = tmp_path / "1.png"
    colours = np.stack([GREY, GREY[::-1], GREY.T], -1)
    path.write_bytes(cv2.imencode(".png", colours.astype(np.uint16) * 257)[1])
    assert (read_image(path) == colours[..., ::-1]).all()  # OpenCV writes BGR


def test_colours_of_12_bits_in_a_file_of_16_are_refused(tmp_path):
    path = tmp_path / "img7.png"
    colours = np.stack([GREY, GREY[::-1], GREY.T], -1)
    path.write_bytes(cv2.imencode(".png", colours.astype(np.uint16) * 16)[1])
    with pytest.raises(DataError, match="img7.png.* 16 bits, but its values end"):
        read_image(path)


def test_a_tiff_whose_zero_is_white_is_not_inverted(tmp_path):
    for bits, white in ((12, 4095), (16, 65535)):
        path = tmp_path / f"{bits}.tif"
        deep = np.linspace(white, 0, 64).round().reshape(8, 8)
        file = tiff_of_12_bits(deep) if bits == 12 else tiff_of_16_bits(deep)
        path.write_bytes(file.replace(ZERO_IS_BLACK, ZERO_IS_WHITE))
        if bits == 16:  # Pillow cannot read the other one
            assert (read_image(path) == expanded(GREY)).all()
        else:
            with pytest.raises(DataError):
                read_image(path)


def test_a_tiff_with_a_small_copy_of_itself_is_read(tmp_path):
    page = Image.fromarray(GREY)
    small = Image.fromarray(GREY[::2, ::2])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    page.save(tmp_path / "1.tif", save_all=True, append_images=[small])
    assert (read_image(tmp_path / "1.tif") == expanded(GREY)).all()


ZERO_IS_BLACK, ZERO_IS_WHITE = (struct.pack("<HHII", 262, 4, 1, n) for n in (1, 0))


def tiff_of_16_bits(values):
    """Returns a grey TIFF whose pixels have 16 bits."""
    return tiff(values.astype("<u2").tobytes(), values.shape, bits=16)


def tiff_of_12_bits(values):
    """Returns a grey TIFF whose pixels have 12 bits, two of them in three bytes."""
    pairs = values.astype(int).reshape(-1, 2)
    data = bytes(
        byte
        for left, right in pairs
        for byte in (left >> 4, (left & 15) << 4 | right >> 8, right & 255)
    )
    return tiff(data, values.shape, bits=12)


def tiff(data, shape, bits):
    height, width = shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1}
    tags |= {273: 8, 277: 1, 278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in tags.items())
    start = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return start + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_grey_of_12_bits_is_scaled_by_the_depth_of_the_file(tmp_path):
    path = tmp_path / "1.tif"
    deep = np.linspace(0, 4095, 64).round().reshape(8, 8)
    path.write_bytes(tiff_of_12_bits(deep))
    assert (read_image(path) == expanded(GREY)).all()


def test_12_bits_in_a_file_of_16_are_refused(tmp_path):
    path = tmp_path / "img7.png"
    path.write_bytes(cv2.imencode(".png", GREY.astype(np.uint16) * 16)[1])
    with pytest.raises(DataError, match="img7.png.* 16 bits, but .* end at 4080 of"):
        read_image(path)
    path.write_bytes(cv2.imencode(".png", np.zeros((8, 8), np.uint16))[1])
    assert not read_image(path).any()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_other_modes_keep_their_pixels(tmp_path, mode, suffix):
    grey = np.where(GREY < 128, 0, 255).astype(np.uint8) if mode == "1" else GREY
    image = Image.fromarray(grey)
    image = image.convert("RGB").quantize(256) if mode == "P" else image.convert(mode)
    image.save(tmp_path / f"1{suffix}", lossless=True)
    assert (read_image(tmp_path / f"1{suffix}") == expanded(grey)).all()


def save_cmyk(path):
    Image.fromarray(expanded(GREY)).convert("CMYK").save(path.with_suffix(".jpg"))
    return path.with_suffix(".jpg")


def save_float(path):
    path = path.with_suffix(".tif")
    path.write_bytes(cv2.imencode(".tiff", GREY.astype(np.float32) / 255)[1])
    return path


def save_transparent(path):
    alpha = np.full((8, 8), 255, np.uint8)
    alpha[2, 3] = 254
    Image.fromarray(np.dstack([expanded(GREY), alpha])).save(path)
    return path


def save_colour_key(path):
    Image.fromarray(GREY).save(path, transparency=255)
    return path


def save_several(path):
    path = path.with_suffix(".tif")
    page = Image.fromarray(GREY)
    page.save(path, save_all=True, append_images=[page, page])
    return path


@pytest.mark.parametrize(
    ("save", "reason"),
    [
        (save_cmyk, "CMYK"),
        (save_float, "floating-point numbers"),
        (save_transparent, "transparent in places"),
        (save_colour_key, "transparent in places"),
        (save_several, "contains 3 images"),
    ],
)
def test_what_cannot_be_converted_exactly_is_refused_by_name(tmp_path, save, reason):
    path = save(tmp_path / "img3.png")
    with pytest.raises(DataError, match=f"{path.name} cannot be read: it .*{reason}"):
        read_image(path)


def smooth_picture(seed):
    """Returns a picture as a camera takes it, uint8 [96, 128, 3]."""
    noise = np.random.default_rng(seed).uniform(0, 255, (12, 16, 3)).astype(np.float32)
    return cv2.resize(noise, (128, 96), interpolation=cv2.INTER_CUBIC).clip(0, 255)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 98}])
def test_a_jpeg_has_the_pixels_of_pillow_or_is_refused(tmp_path, options):
    path = tmp_path / "img5.jpg"
    image = Image.fromarray(smooth_picture(0).astype(np.uint8))
    image.save(path, **options)
    expected = np.asarray(Image.open(path))
    assert (read_image(path) == expected).all()
    # A sector that was lost: Pillow returns the picture, grey or shifted from there.
    content = bytearray(path.read_bytes())
    content[-600:-88] = bytes(512)
    path.write_bytes(content)
    assert (np.asarray(Image.open(path)) != expected).any()
    with pytest.raises(DataError, match="img5.jpg cannot be read: it is damaged"):
        read_image(path)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".png", {}), (".tif", {"compression": "tiff_deflate"})],
)
def test_damage_that_only_sums_show_is_refused(tmp_path, suffix, options):
    image = Image.fromarray(smooth_picture(2).astype(np.uint8))
    path = tmp_path / f"img5{suffix}"
    image.save(path, **options)
    assert (read_image(path) == np.asarray(image)).all()
    content, hidden = path.read_bytes(), 0
    for at in range(600, len(content) - 600, 200):
        damaged = bytearray(content)
        damaged[at] ^= 0x40
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"img5{suffix} cannot be read"):
            read_image(path)
        hidden += 1
    assert hidden > 20


def test_a_jpeg_inside_of_a_tiff_is_refused(tmp_path):
    image = Image.fromarray(smooth_picture(2).astype(np.uint8))
    image.save(tmp_path / "1.tif", compression="jpeg")
    with pytest.raises(DataError, match="it is a JPEG inside of a TIFF"):
        read_image(tmp_path / "1.tif")


@pytest.mark.parametrize("version", [b"\1\2", b"\2\1"])
def test_other_versions_of_jfif_are_read(tmp_path, version):
    path = tmp_path / "1.jpg"
    Image.fromarray(smooth_picture(0).astype(np.uint8)).save(path)
    expected, content = read_image(path), bytearray(path.read_bytes())
    assert content[6:13] == b"JFIF\0\1\1"
    content[11:13] = version
    path.write_bytes(content)
    assert (read_image(path) == expected).all()


def test_grey_and_turned_jpegs_are_read(tmp_path):
    grey = smooth_picture(1)[..., 0].astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey).save(tmp_path / "1.jpg", exif=exif)
    stored = np.asarray(Image.open(tmp_path / "1.jpg").convert("RGB"))
    assert (read_image(tmp_path / "1.jpg") == np.rot90(stored, -1)).all()


# What a camera stores for a picture, by the orientation in EXIF
ORIENTATIONS = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.swapaxes(0, 1),
    6: lambda shown: np.rot90(shown),
    7: lambda shown: shown.swapaxes(0, 1)[::-1, ::-1],
    8: lambda shown: np.rot90(shown, -1),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_orientation_of_a_photograph_is_applied(tmp_path, orientation, suffix):
    shown = expanded(np.arange(48, dtype=np.uint8).reshape(6, 8))
    stored = Image.fromarray(np.ascontiguousarray(ORIENTATIONS[orientation](shown)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"1{suffix}", exif=exif)
    assert (read_image(tmp_path / f"1{suffix}") == shown).all()


# a, b, c, d of the matrix that shows what is stored for each of these orientations
MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


def write_turned_video(path, image, matrix):
    """Writes a video of one image with a display matrix, as phones do."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", width=image.shape[1], height=image.shape[0])
        stream.pix_fmt, stream.bit_rate = "yuv420p", 10_000_000
        file.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        file.mux(stream.encode())
    content = path.read_bytes()
    unturned = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    header = content.index(b"tkhd")
    at = content.index(unturned, header)
    a, b, c, d = (round(n * (1 << 16)) for n in matrix)
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:at] + turned + content[at + len(turned) :])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_rotation_of_a_video_is_applied(tmp_path, orientation):
    quarters = np.array([[40, 90], [140, 200]], np.uint8)
    shown = expanded(np.kron(quarters, np.ones((16, 32), np.uint8)))
    stored = np.ascontiguousarray(ORIENTATIONS[orientation](shown))
    path = tmp_path / "1.mp4"
    write_turned_video(path, stored, MATRICES[orientation])
    recording = open_recording(path, 1, 1, full_recording=True)
    ((_, image),) = recording.read([1])
    assert image.shape == shown.shape
    assert np.abs(image.astype(int) - shown).max() < 12


def test_a_video_that_is_turned_by_another_angle_is_refused(tmp_path):
    path = tmp_path / "1.mp4"
    write_turned_video(
        path, expanded(GREY.repeat(2, 0).repeat(2, 1)), (0.8, 0.6, -0.6, 0.8)
    )
    recording = open_recording(path, 1, 1, full_recording=True)
    with pytest.raises(DataError, match="not a multiple of 90 degrees"):
        list(recording.read([1]))


def test_a_video_of_photographs_with_exif_is_read(tmp_path):
    """FFmpeg hands their EXIF on as side data that PyAV does not know."""
    quarters = np.array([[40, 90], [140, 200]], np.uint8)
    shown = expanded(np.kron(quarters, np.ones((16, 32), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    with av.open(str(tmp_path / "1.avi"), "w") as file:
        stream = file.add_stream("mjpeg", rate=30, width=32, height=64)
        stream.pix_fmt = "yuvj420p"
        for number in range(3):
            content = io.BytesIO()
            stored = np.ascontiguousarray(ORIENTATIONS[6](shown))
            Image.fromarray(stored).save(content, "JPEG", quality=95, exif=exif)
            packet = av.Packet(content.getvalue())
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base = fractions.Fraction(1, 30)
            file.mux(packet)
    recording = open_recording(tmp_path / "1.avi", 1, 3, full_recording=True)
    images = dict(recording.read([1, 2, 3]))
    for image in images.values():
        assert image.shape == shown.shape
        assert np.abs(image.astype(int) - shown).max() < 12


@pytest.mark.parametrize("suffix", [".webp", ".TIF", ".PNG"])
def test_frames_are_found_by_any_common_suffix(tmp_path, suffix):
    for number in (1, 2):
        iio.imwrite(tmp_path / f"img{number}{suffix.lower()}", expanded(GREY))
        (tmp_path / f"img{number}{suffix.lower()}").rename(
            tmp_path / f"img{number}{suffix}"
        )
    recording = open_recording(tmp_path, 1, 2, full_recording=True)
    assert (recording.first, recording.last) == (1, 2)
