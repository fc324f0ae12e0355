"""LBP-TOP against scikit-image, a slow second implementation, and by hand."""

import math

import numpy as np
import pytest
from skimage.feature import local_binary_pattern

from meranet_jax.descriptors import lbp_top, specifications
from meranet_jax.descriptors.lbp_top import LbpTopSettings
from meranet_jax.errors import UserError

# Small clips: every radius 1, so that 2 pixels are left out along each axis.
SMALL = LbpTopSettings(lbp_blocks=(2, 3, 1), lbp_radius=(1, 1, 1))
# All neighbours at least as bright as the pixel: pattern 255.
FLAT = 8 * 7 + 1


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def histograms(clip, settings):
    """[rows, columns, segments, 3, 59]"""
    return lbp_top.features(clip, settings).reshape(*settings.lbp_blocks, 3, 59)


# Shape and normalisation


@pytest.mark.parametrize(
    ("blocks", "length"),
    [
        ((5, 5, 1), 4425),  # 25 blocks x 3 planes x 59 bins
        ((4, 4, 2), 5664),  # 32 x 3 x 59
        ((1, 1, 1), 177),
    ],
)
def test_length_is_blocks_times_planes_times_bins(blocks, length):
    settings = LbpTopSettings(lbp_blocks=blocks)
    got = lbp_top.features(noise(16, 20, 24, 3), settings)
    assert settings.num_features == length == math.prod(blocks) * 3 * 59
    assert got.shape == (length,) and got.dtype == np.float32


def test_each_histogram_sums_to_one():
    # 15 - 2 rows in 2 blocks, 17 - 2 columns in 3: blocks of different sizes
    sums = histograms(noise(8, 15, 17, 3), SMALL).sum(-1)
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_blocks_are_rows_then_columns_then_segments():
    clip = np.zeros((10, 14, 20), np.uint8)
    settings = LbpTopSettings(lbp_blocks=(2, 3, 2), lbp_radius=(1, 1, 1))
    # One bright pixel in the middle of the last row of blocks, second column, first
    # segment: it is the only one without a neighbour as bright, code 0.
    clip[2, 10, 9] = 200
    zeros = histograms(clip, settings)[..., 0]
    assert (zeros[1, 1, 0] > 0).all()
    assert np.count_nonzero(zeros) == 3  # the block's three planes


# Codes


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_codes_equal_scikit_image_on_each_plane(radius):
    # A seed without ties between a pixel and its interpolated neighbours, where
    # scikit-image depends on rounding.
    grey = noise(12, 14, 16, seed=1)
    inside = slice(radius, -radius)
    all_codes = {
        plane: lbp_top.codes(grey, plane, (radius,) * 3) for plane in lbp_top.PLANES
    }
    for plane, slices, axis in (
        ("XY", grey, 0),
        ("XT", grey.transpose(1, 0, 2), 1),
        ("YT", grey.transpose(2, 0, 1), 2),
    ):
        expected = np.stack(
            [local_binary_pattern(image, 8, radius, "nri_uniform") for image in slices]
        )[inside, inside, inside]
        got = np.moveaxis(all_codes[plane], axis, 0)
        np.testing.assert_array_equal(got, expected)


def slow_code(grey, plane, radius, t, y, x):
    """One code with floating-point numbers, from the definition."""
    rows, columns = {
        "XY": ((0, 1, 0), (0, 0, 1)),
        "XT": ((1, 0, 0), (0, 0, 1)),
        "YT": ((1, 0, 0), (0, 1, 0)),
    }[plane]
    r_x, r_y, r_t = radius
    extent = np.array([r_t, r_y, r_x])
    bits = []
    for i in range(8):
        angle = math.pi / 4 * i
        at = np.array([t, y, x]) + extent * (
            np.cos(angle) * np.array(columns) - np.sin(angle) * np.array(rows)
        )
        at = np.round(at, 5)
        value = 0.0
        for corner in np.ndindex(2, 2, 2):
            place = np.floor(at).astype(int) + corner
            weight = np.prod(np.maximum(0, 1 - np.abs(at - place)))
            if weight > 0:
                value += weight * int(grey[tuple(place)])
        bits.append(int(value >= int(grey[t, y, x]) - 1e-9))
    runs = sum(bits[i] != bits[i - 1] for i in range(8))
    if runs > 2:
        return 58
    ones = sum(bits)
    if ones in (0, 8):
        return 57 if ones else 0
    start = next(i for i in range(8) if bits[i] and not bits[i - 1])
    return 1 + 8 * (ones - 1) + (8 - start) % 8


def test_codes_equal_a_slow_implementation_with_unequal_radii():
    radius = (1, 2, 4)
    grey = noise(11, 8, 7, seed=2)
    for plane in lbp_top.PLANES:
        got = lbp_top.codes(grey, plane, radius)
        assert got.shape == (11 - 8, 8 - 4, 7 - 2)
        for t, y, x in np.ndindex(got.shape):
            assert got[t, y, x] == slow_code(grey, plane, radius, t + 4, y + 2, x + 1)


def test_there_are_59_codes():
    table = lbp_top._UNIFORM
    assert sorted(set(table.tolist())) == list(range(59))
    assert (table == 58).sum() == 256 - 58


def test_border_pixels_have_no_code_but_are_neighbours():
    grey = np.full((9, 6, 6), 100, np.uint8)
    codes = lbp_top.codes(grey, "XY", (1, 1, 4))
    assert codes.shape == (1, 4, 4)  # frames 4 to 4, rows and columns 1 to 4
    assert (codes == FLAT).all()
    grey[4, 0, :] = 0  # a darker row at the border
    codes = lbp_top.codes(grey, "XY", (1, 1, 4))
    assert (codes[0, 0] != FLAT).all()
    assert (codes[0, 1:] == FLAT).all()


def test_neighbours_do_not_wrap_to_another_slice():
    # Slices that differ much: with planes that were joined in one image, the last rows
    # of one would be neighbours of the first of the next.
    grey = np.zeros((12, 8, 8), np.uint8)
    grey += np.arange(12, dtype=np.uint8)[:, None, None] * 20
    assert (lbp_top.codes(grey, "XY", (1, 1, 1)) == FLAT).all()


# What changes features, and what does not


def test_offset_and_factor_change_nothing():
    clip = noise(6, 12, 14, 3) // 4
    expected = lbp_top.features(clip, SMALL)
    np.testing.assert_array_equal(lbp_top.features(clip + 77, SMALL), expected)
    grey = lbp_top.to_grey(clip)
    np.testing.assert_array_equal(lbp_top.features(grey * 3, SMALL), expected)


def test_monotone_change_of_grey_keeps_comparisons_with_pixels():
    # A horizontal ramp with steps of any height: neighbours are larger, equal or
    # smaller as before, the interpolated ones, too.
    heights = np.sort(np.random.default_rng(0).permutation(256)[:14]).astype(np.uint8)
    ramp = np.broadcast_to(heights, (6, 12, 14))
    squared = (ramp.astype(int) ** 2 // 255).astype(np.uint8)
    squared = np.maximum.accumulate(squared + np.arange(14, dtype=np.uint8), -1)
    assert (np.diff(squared.astype(int)) > 0).all()
    np.testing.assert_array_equal(
        lbp_top.features(ramp, SMALL), lbp_top.features(squared, SMALL)
    )
    # Any monotone change of two grey levels is an offset and a factor.
    two = np.where(noise(6, 12, 14) > 127, 9, 3).astype(np.uint8)
    np.testing.assert_array_equal(
        lbp_top.features(two, SMALL), lbp_top.features(two // 9 * 255, SMALL)
    )


def test_mirrored_clip_has_mirrored_features():
    clip = noise(6, 12, 14, 3)
    # 12 columns with codes in 3 blocks, so that blocks are mirrored into blocks
    plain = histograms(clip, SMALL)
    mirrored = histograms(clip[:, :, ::-1], SMALL)[:, ::-1]  # columns of blocks

    def mirror(code):
        """Bit i is at 45 degrees x i; mirrored left to right at 180 - 45 i."""
        pattern = int(np.flatnonzero(lbp_top._UNIFORM == code)[0])
        bits = [pattern >> (4 - i) % 8 & 1 for i in range(8)]
        return lbp_top._UNIFORM[sum(bit << i for i, bit in enumerate(bits))]

    of = np.array([mirror(code) for code in range(59)])
    for plane in (0, 1):  # columns of XY and XT are X
        np.testing.assert_array_equal(mirrored[..., plane, :], plain[..., plane, of])
    np.testing.assert_array_equal(mirrored[..., 2, :], plain[..., 2, :])


def test_static_clip_has_known_codes_in_time():
    # Rows T are equal: a neighbour's bit depends on its column alone. On an ascending
    # ramp the six at or right of the pixel are as bright: bits 6 7 0 1 2 of angles
    # -90 to 90 degrees, a run of 5 from bit 6.
    static = np.broadcast_to(np.arange(10, dtype=np.uint8) * 5, (8, 9, 10))
    code = 1 + 8 * 4 + 2
    assert (lbp_top.codes(static, "XT", (1, 1, 2)) == code).all()
    assert (lbp_top.codes(static, "YT", (1, 1, 2)) == FLAT).all()
    static = np.broadcast_to(noise(9, 10), (8, 9, 10))
    for plane in ("XT", "YT"):
        codes = lbp_top.codes(static, plane, (1, 1, 2))
        np.testing.assert_array_equal(codes, np.broadcast_to(codes[:1], codes.shape))


def test_change_in_time_alone_changes_xt_and_yt_alone():
    frame = noise(12, 14) // 2
    static = np.broadcast_to(frame, (8, 12, 14))
    flicker = static + (np.arange(8, dtype=np.uint8) % 2 * 100)[:, None, None]
    before, after = histograms(static, SMALL), histograms(flicker, SMALL)
    np.testing.assert_array_equal(before[..., 0, :], after[..., 0, :])  # XY
    for plane in (1, 2):
        assert (before[..., plane, :] != after[..., plane, :]).any(-1).all()


# Grey


def test_grey_is_luma():
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]])
    clip = np.broadcast_to(colours, (2, 3, 4, 3)).astype(np.uint8)
    # 0.299 x 255 = 76.2; 0.587 x 255 = 149.7; 0.114 x 255 = 29.1
    assert lbp_top.to_grey(clip)[0, 0].tolist() == [76, 150, 29, 255]
    levels = np.broadcast_to(np.arange(256)[None, None, :, None], (1, 1, 256, 3))
    np.testing.assert_array_equal(
        lbp_top.to_grey(levels.astype(np.uint8))[0, 0], np.arange(256)
    )


def test_grey_clip_has_the_features_of_its_colour_clip():
    grey = noise(6, 12, 14)
    np.testing.assert_array_equal(
        lbp_top.features(grey, SMALL),
        lbp_top.features(np.stack([grey] * 3, -1), SMALL),
    )


# Several clips


@pytest.mark.parametrize("workers", [1, 3])
def test_features_of_all_clips_are_those_of_each(workers):
    clips = noise(5, 6, 12, 14, 3)
    got = specifications.LBP_TOP.features(list(clips), SMALL, workers)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(
        got, [lbp_top.features(clip, SMALL) for clip in clips]
    )
    assert specifications.LBP_TOP.features([], SMALL, workers).shape == (0, 6 * 3 * 59)


# Refusals


def test_small_clips_are_refused_with_advice():
    settings = LbpTopSettings()
    lbp_top.features(noise(9, 7, 7), settings)  # 9 - 2 x 4 frames, 7 - 2 rows
    with pytest.raises(UserError, match="8 frames.* at least 9.*--frames"):
        lbp_top.features(noise(8, 7, 7), settings)
    with pytest.raises(UserError, match="6 rows.* at least 7.*--size"):
        lbp_top.features(noise(9, 6, 7), settings)
    with pytest.raises(UserError, match="6 columns"):
        specifications.LBP_TOP.features([noise(9, 7, 6)] * 3, settings, 2)


@pytest.mark.parametrize(
    "clip",
    [np.zeros((9, 8, 8, 3)), noise(9, 8), noise(9, 8, 8, 1)],
    ids=["float", "image", "one channel"],
)
def test_what_is_no_clip_is_refused(clip):
    with pytest.raises(ValueError, match="expected a clip"):
        lbp_top.features(clip, SMALL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lbp_blocks", (5, 5)),
        ("lbp_blocks", (5, 0, 1)),
        ("lbp_radius", (1, 1, 0)),
        ("lbp_radius", ()),
        ("svm_c_exponents", (3, 1)),
        ("svm_c_exponents", (-40, 1)),
        ("svm_c_exponents", (1,)),
    ],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(UserError, match=f"--{field}"):
        LbpTopSettings(**{field: value})
