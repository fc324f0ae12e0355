"""The face of a photograph, as a subject whose expressions are warps of it.

The photograph is scikit-image's ``astronaut``: Eileen Collins, photographed by NASA, in
the public domain. Nothing is downloaded, since the package contains it.
"""

import numpy as np
from scipy import ndimage

from datasets.synthetic.face import FRAME, MARGIN, SUPERSAMPLING, Face
from meranet_jax.errors import DataError

# Annotated by hand, in pixels of the photograph from its left and top edge; left and
# right are sides of the image.
_LANDMARKS = {
    "brow_middle": (226.0, 93.0),
    "brow_inner_left": (211.0, 92.0),
    "brow_inner_right": (240.5, 92.5),
    "brow_outer_left": (192.0, 90.0),
    "brow_outer_right": (261.0, 92.5),
    "eye_left": (203.0, 101.0),
    "eye_right": (246.5, 103.0),
    "lid_lower_left": (203.0, 106.0),
    "lid_lower_right": (246.5, 108.0),
    "cheek_left": (199.0, 122.0),
    "cheek_right": (254.0, 124.0),
    "nose_bridge": (224.5, 112.0),
    "nostril_left": (215.0, 128.5),
    "nostril_right": (236.5, 128.5),
    "mouth_corner_left": (204.0, 140.0),
    "mouth_corner_right": (246.0, 139.5),
    "lip_upper": (225.0, 140.0),
    "lip_lower": (224.0, 152.0),
    "chin": (224.0, 171.0),
}
_CENTRE = (224.5, 128.0)
_RADIUS = 43.5  # half the width of the face

# The crop: the face from hairline to chin, with a margin of a tenth on each side, as
# the crops of the licensed data sets.
_SIDE = 120.0


def load_face() -> Face:
    """Returns the face of the photograph, cropped and enlarged like a drawn one.

    Raises:
      DataError: if scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise DataError(
            "synthetic/photo warps a photograph of scikit-image, which is not "
            'installed. Run pip install "scikit-image>=0.25".'
        ) from error
    photograph = data.astronaut().astype(np.float32)  # [512, 512, 3]
    scale = _SIDE / FRAME
    left, top = (position - _SIDE / 2 for position in _CENTRE)
    steps = np.arange((FRAME + 2 * MARGIN) * SUPERSAMPLING)
    steps = ((steps + 0.5) / SUPERSAMPLING - MARGIN) * scale - 0.5
    coordinates = np.meshgrid(steps + top, steps + left, indexing="ij")
    # Cubic, since a pixel of the photograph is enlarged to about three.
    image = np.stack(
        [
            ndimage.map_coordinates(photograph[..., channel], coordinates, order=3)
            for channel in range(3)
        ],
        -1,
    )

    def in_frame(point: tuple[float, float]) -> tuple[float, float]:
        return (point[0] - left) / scale, (point[1] - top) / scale

    return Face(
        np.clip(image, 0, 255),
        {name: in_frame(point) for name, point in _LANDMARKS.items()},
        radius=_RADIUS / scale,
        centre=in_frame(_CENTRE),
    )
