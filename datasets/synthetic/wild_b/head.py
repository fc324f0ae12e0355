"""A random head: clouds of surface samples."""

import dataclasses

import numpy as np

from datasets.synthetic.wild_b import hair, parts, skin
from datasets.synthetic.wild_b.shape import (
    Shape,
    draw_shape,
    normals,
)
from datasets.synthetic.wild_b.splatting import Cloud, make_cloud


@dataclasses.dataclass(frozen=True)
class Head:
    """A person's head and what is around it.

    Attributes:
      shape: sizes and places.
      skin: samples of the face, with holes for the eyes.
      lids: samples of both upper lids.
      lid: where the samples of the lids are: 0 at the crease, 1 at the edge, float [N].
      closing: their displacement when the eyes close, float32 [N, 3].
      stretch: growth of their areas then, float32 [N].
      eyes: samples of the eyeballs around their centres, left and right.
      balls: centres of the eyeballs, float [2, 3].
      mouth: its inside.
      ears: both.
      hair: over the skull, or none.
      back_hair: behind the head, or none.
      glasses: their frame and their lenses, or none.
      body: neck and shoulders.
      backdrop: what is behind the person, float32 [S, S, 3].
    """

    shape: Shape
    skin: Cloud
    lids: Cloud
    lid: np.ndarray
    closing: np.ndarray
    stretch: np.ndarray
    eyes: tuple[Cloud, Cloud]
    balls: np.ndarray
    mouth: Cloud
    ears: Cloud
    hair: Cloud | None
    back_hair: Cloud | None
    glasses: tuple[Cloud, Cloud] | None
    body: Cloud
    backdrop: np.ndarray


def draw_face(rng: np.random.Generator) -> Head:
    """Draws a random head; all of its properties are sampled from ``rng``."""
    shape = draw_shape(rng)
    shade = float(rng.beta(0.9, 1.3))
    tone = hair.draw_tone(rng, shade)
    look = skin.draw_look(rng, tone, shade)
    if look.age > 0.6 and rng.random() < 0.6:  # grey hair
        tone = tone + (150 - tone) * rng.uniform(0.3, 1)
        look = dataclasses.replace(look, hair=tone * 0.8)
    style = str(rng.choice(hair.STYLES, p=[0.1, 0.24, 0.18, 0.13, 0.14, 0.11, 0.1]))

    surface = shape.surface()
    x, y = surface[..., 0], surface[..., 1]
    image = skin.paint(rng, shape, look, x, y)
    opacity = np.ones(x.shape)
    lids = []
    for side in (-1, 1):
        lids.append(parts.make_lid(shape, look, surface, image, side))
        s = (x - side * shape.eye[0]) / shape.lids[0]
        upper, lower = shape.eyelids(s, side)
        ends = skin.soft(1 - np.abs(s), 0.02)
        opacity *= (
            1 - skin.soft(y - upper + 1.4, 0.1) * skin.soft(lower - y, 0.1) * ends
        )
        # The edge of the lower lid and its lashes
        rim = np.exp(-(((y - lower - 0.35) / 0.4) ** 2)) * ends
        image += (0.5 * look.tone - image) * (0.5 + 0.3 * look.make_up) * rim[..., None]
    normal = normals(surface)
    shell, hidden = hair.make_shell(rng, shape, style, tone)
    share = shape.drawn(surface, normal)
    opacity *= (share > 0) & ~hidden
    clouds, where, closing, stretch = zip(*lids, strict=True)
    eyes = [parts.ball(shape, surface, side) for side in (-1, 1)]
    iris = parts.draw_iris(rng, shade)
    return Head(
        shape=shape,
        skin=make_cloud(surface, normal, image, opacity, share),
        lids=_join(clouds),
        lid=np.concatenate(where),
        closing=np.concatenate(closing),
        stretch=np.concatenate(stretch),
        eyes=tuple(parts.make_eye(rng, radius, iris) for _, radius in eyes),
        balls=np.stack([centre for centre, _ in eyes]),
        mouth=parts.make_mouth(shape, surface),
        ears=parts.make_ears(rng, shape, look),
        hair=shell,
        back_hair=hair.make_back(rng, shape, style, tone),
        glasses=parts.make_glasses(rng, shape, surface) if rng.random() < 0.3 else None,
        body=parts.make_body(rng, shape, look),
        backdrop=parts.make_backdrop(rng),
    )


def _join(clouds: tuple[Cloud, ...]) -> Cloud:
    """Returns the samples of several clouds."""
    arrays = {
        name: np.concatenate([getattr(cloud, name) for cloud in clouds])
        for name in ("position", "normal", "colour", "opacity", "area")
    }
    return Cloud(**arrays)
