"""Frames of a public-domain face: the astronaut of scikit-image."""

import cv2
import numpy as np
from PIL import Image
from skimage import data

from tests.datasets import casme2_tree

# Annotated by hand: left, top, right and bottom of the face, and both eyes.
BOX = np.array([170, 60, 280, 200])
EYES = np.array([[204, 100], [248, 102]])


def filmed(scale=1.0, angle=0.0, place=(320, 240), shape=(480, 640)):
    """Returns a frame, uint8 [H, W, 3], the box of the face [4] and the eyes [2, 2]."""
    centre = (BOX[:2] + BOX[2:]) / 2
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = scale * np.array([[cos, -sin], [sin, cos]])
    image = cv2.warpAffine(
        data.astronaut(),
        np.column_stack([turn, np.array(place) - turn @ centre]),
        shape[::-1],
        borderValue=(110, 110, 110),
    )
    half = scale * (BOX[2:] - BOX[:2]) / 2
    box = np.concatenate([place - half, place + half])
    return image, box, (EYES - centre) @ turn.T + place


def with_faces(folder, release="CASME2_RAW_selected", rows=casme2_tree.ROWS):
    """Writes a copy whose frames show a face that moves by one pixel per frame."""
    casme2_tree.write_tree(folder, release=release, rows=rows)
    for clip in (folder / release).glob("sub*/*"):
        for path in clip.glob("*.jpg"):
            number = int(path.name.partition(".")[0].removeprefix("img"))
            image, _, _ = filmed(1.2, 0, (280 + number % 40, 240))
            Image.fromarray(image).save(path, quality=90)
    return folder
