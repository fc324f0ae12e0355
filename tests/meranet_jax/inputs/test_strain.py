import jax
import numpy as np
import pytest

from meranet_jax.inputs import strain


def test_strain_of_an_analytic_field():
    # u = a x^2 + b x y, v = c y^2: u_x = 2 a x + b y, u_y = b x, v_y = 2 c y, v_x = 0.
    a, b, c = 0.01, 0.02, -0.015
    y, x = np.mgrid[:12, :16].astype(np.float32)
    flow = np.stack([a * x**2 + b * x * y, c * y**2], -1)
    u_x, u_y, v_y = 2 * a * x + b * y, b * x, 2 * c * y
    expected = np.sqrt(u_x**2 + v_y**2 + u_y**2 / 2)
    got = np.asarray(strain.optical_strain(np.stack([flow, 2 * flow])))
    assert got.shape == (2, 12, 16)
    # Central differences are exact for quadratic fields.
    inside = (slice(1, -1), slice(1, -1))
    assert got[0][inside] == pytest.approx(expected[inside], rel=1e-4)
    assert got[1] == pytest.approx(2 * got[0], rel=1e-5)


def test_translation_and_small_rotation_have_no_strain():
    y, x = np.mgrid[:9, :9].astype(np.float32)
    flow = np.stack([3 - 0.01 * y, 0.01 * x - 1], -1)
    assert np.asarray(strain.optical_strain(flow)) == pytest.approx(0, abs=1e-6)


def test_gradient_is_finite_where_nothing_moves():
    still = np.zeros((5, 5, 2), np.float32)
    gradient = jax.grad(lambda flow: strain.optical_strain(flow).sum())(still)
    np.testing.assert_array_equal(np.asarray(gradient), still)
