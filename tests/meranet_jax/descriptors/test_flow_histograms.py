import jax.numpy as jnp
import numpy as np
import pytest

from meranet_jax.descriptors import flow_histograms
from meranet_jax.inputs import strain
from tests.meranet_jax.descriptors.flows import MIRRORED, random_flow, slow_bin


def test_bins_begin_at_minus_180_degrees():
    degrees = np.array([-180, -179, -136, -135, -91, -90, -45, 0, 44, 45, 90, 135, 179])
    x, y = np.cos(np.radians(degrees + 1e-9)), np.sin(np.radians(degrees + 1e-9))
    bins = [0, 0, 0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7]
    assert flow_histograms.directions(x, y).tolist() == bins
    # Angles of -180 and 180 degrees
    ends = flow_histograms.directions(np.array([-1.0, -1.0]), np.array([-0.0, 0.0]))
    assert ends.tolist() == [0, 0]


def test_bins_equal_the_definition_and_are_mirrored():
    flow = random_flow(500)
    bins = flow_histograms.directions(flow[:, 0], flow[:, 1])
    assert bins.tolist() == [slow_bin(*vector) for vector in flow]
    mirrored = flow_histograms.directions(-flow[:, 0], flow[:, 1])
    assert mirrored.tolist() == np.array(MIRRORED)[bins].tolist()


def test_histograms_add_lengths_over_pixels_and_frames():
    x = np.array([[[3.0, 0.0]], [[3.0, -2.0]]])  # two frames of two pixels
    y = np.array([[[4.0, 1.0]], [[4.0, 0.0]]])
    found = flow_histograms.direction_histograms(x, y, np.array([[0, 2]]), 3)
    expected = np.zeros((3, 8))
    expected[0, 5] = 10  # twice (3, 4), at 53 degrees
    expected[2, 6], expected[2, 0] = 1, 2  # (0, 1) at 90 degrees, (-2, 0) at 180
    np.testing.assert_allclose(found, expected)


def test_strain_is_that_of_the_inputs():
    flow = random_flow(2, 9, 7)
    np.testing.assert_allclose(
        flow_histograms.optical_strain(flow),
        strain.optical_strain(jnp.asarray(flow)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("values", [[3.0, 4.0], [0.0, 0.0]])
def test_unit_length(values):
    found = flow_histograms.unit_length(np.array(values))
    np.testing.assert_allclose(found, np.array(values) / 5)
