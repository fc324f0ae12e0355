import numpy as np
import pytest

from meranet_jax.video.sampling import (
    interpolate,
    interpolation_matrix,
    uniform_frame_numbers,
    window_frame_numbers,
)


def numbers(apex, first, last, window=32, frames=16):
    return window_frame_numbers(
        apex, first, last, window=window, frames=frames
    ).tolist()


def test_window_of_32_selects_every_second_frame():
    found = numbers(100, 1, 200)
    assert found == list(range(84, 116, 2))
    assert 100 in found


def test_window_of_16_selects_every_frame():
    assert numbers(50, 1, 99, window=16) == list(range(42, 58))


def test_window_repeats_edge_frames():
    assert numbers(50, 46, 57) == [46] * 7 + [48, 50, 52, 54, 56] + [57] * 4
    assert numbers(7, 7, 7) == [7] * 16


@pytest.mark.parametrize(
    ("window", "frames"), [(32, 10), (24, 16), (17, 17), (20, 5), (32, 1)]
)
def test_other_windows_are_evenly_spaced_around_the_apex(window, frames):
    found = numbers(500, 1, 999, window, frames)
    assert 500 in found and len(found) == frames
    assert 500 - window / 2 <= found[0] and found[-1] < 500 + window / 2
    if frames == 1:
        return
    found = np.diff(found)
    assert found.max() - found.min() <= 1
    assert abs(found.sum() - window * (frames - 1) / frames) < 1


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        # 200 Hz as 50 Hz: every fourth frame, and every eighth is selected.
        (4, range(100 - 64, 100 + 57, 8)),
        # 30 Hz as 60 Hz: each frame of the recording twice, and one of the two.
        (0.5, range(92, 108)),
    ],
)
def test_a_window_at_another_frame_rate_covers_the_same_time(step, expected):
    numbers = window_frame_numbers(100, 1, 300, window=32, frames=16, step=step)
    assert numbers.tolist() == list(expected)


def test_a_resampled_window_selects_the_nearest_frames():
    # 60 Hz as 50 Hz: one frame is 1.2 frames of the recording.
    numbers = window_frame_numbers(100, 1, 300, window=8, frames=8, step=1.2)
    assert numbers.tolist() == [95, 96, 98, 99, 100, 101, 102, 104]


def test_invalid_windows_raise():
    with pytest.raises(ValueError, match="empty recording"):
        numbers(5, 6, 5)
    with pytest.raises(ValueError, match="17 frames.*window of 16"):
        numbers(5, 1, 9, window=16, frames=17)


@pytest.mark.parametrize(
    ("first", "last", "frames"), [(5, 40, 8), (7, 9, 6), (3, 3, 4)]
)
def test_uniform_sampling_includes_both_ends(first, last, frames):
    found = uniform_frame_numbers(first, last, frames=frames)
    assert len(found) == frames
    assert (found[0], found[-1]) == (first, last)
    exact = first + (last - first) * np.arange(frames) / (frames - 1)
    assert np.abs(found - exact).max() <= 0.5


def published_tim(images, frames):
    """TIM as published by Zhou et al.: graph embedding, SVD, evaluation of the curve.

    images: float64 [N, D], linearly independent.
    """
    n = len(images)
    mean = images.mean(0)
    u, s, vt = np.linalg.svd((images - mean).T, full_matrices=False)
    u, q = u[:, : n - 1], (s[:, None] * vt)[: n - 1]  # centred: rank n - 1
    path = np.eye(n, k=1) + np.eye(n, k=-1)
    laplacian = np.diag(path.sum(0)) - path
    _, vectors = np.linalg.eigh(laplacian)
    vectors = vectors[:, 1:]  # without the constant
    # Each w_k with q^T w_k = y_k, the eigenvector, by least squares.
    w = np.linalg.solve(q @ q.T, q @ vectors)
    k = np.arange(1, n)[:, None]

    def curve(t):
        return np.sin(np.pi * k * t + np.pi * (n - k) / (2 * n))

    # Eigenvectors have arbitrary length and sign; the curve at 1/n determines both.
    scale = vectors[0] / curve(np.array([1 / n]))[:, 0]
    t = np.linspace(1 / n, 1, frames)
    return (u @ np.linalg.solve(w.T, scale[:, None] * curve(t))).T + mean


@pytest.mark.parametrize(("length", "frames"), [(9, 16), (24, 16), (16, 16), (2, 5)])
def test_interpolation_equals_the_published_model(length, frames):
    images = np.random.default_rng(0).normal(size=(length, 60))
    ours = interpolation_matrix(length, frames) @ images
    np.testing.assert_allclose(ours, published_tim(images, frames), atol=1e-9)


def test_interpolation_of_equal_frames():
    still = np.full((12, 4, 4, 3), 90, np.uint8)
    assert (interpolate(still, 7) == 90).all()
    one = still[:1]
    assert (interpolate(one, 3) == 90).all() and len(interpolate(one, 3)) == 3


def test_interpolation_preserves_frames_and_smooth_motion():
    images = np.random.default_rng(0).integers(0, 256, (10, 4, 5, 3), np.uint8)
    assert (interpolate(images, 10) == images).all()
    # A slow wave over the full length: interpolated frames lie on the wave.
    t = np.arange(33)
    wave = 100 + 80 * np.cos(np.pi * (t + 0.5) / 33)
    images = np.rint(wave)[:, None, None, None].repeat(3, 3).astype(np.uint8)
    clip = interpolate(images, 12)[:, 0, 0, 0]
    expected = 100 + 80 * np.cos(np.pi * (np.linspace(0, 32, 12) + 0.5) / 33)
    assert np.abs(clip - expected).max() <= 1.5
