"""Renderer B of `synthetic/wild`: 3-D heads drawn by splatting surface samples.

`shape` has the surface of a head, `skin` paints it, `hair` and `parts` add hair, eyes,
glasses and the body, `head` draws a random head of all of them. `units` moves points of
the face, `pose` turns the head, `splatting` draws clouds of points, `render` makes the
frames of a clip.
"""

from datasets.synthetic.wild_b.head import Head, draw_face
from datasets.synthetic.wild_b.render import render

__all__ = ["Head", "draw_face", "render"]
