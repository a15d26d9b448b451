"""The solid of a clay head: signed distances to ellipsoids and capsules, joined smoothly.

Everything here lives in head units: the head looks along +z, y is up, and the picture spans about
-1 to 1. The head is symmetric, so points are folded to x >= 0 and every pair of parts (ears, eyes,
rings of the glasses) is stored once. Distance formulas: Quilez, "Distance functions", 2008.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganedit.data.clayheads.factors import FACTOR_INDEX

ABSENT = 10.0  # added to the distance of a part that a head does not have
SKIN_BLEND = 0.045  # softness of the joins between parts of the skin, head units
HAIR_BLEND = 0.035
SKIN, HAIR, CLOTH, EYE, FRAME = range(5)  # materials, in the order of `part_distances`


@dataclass(frozen=True)
class HeadShape:
    """Sizes and places of the parts of N heads.

    Attributes:
        factors: The rows the shape was built from, [N, F].
        centre: Ellipsoid centres, [N, 3, K, 1]; skin parts first, then hair, then clothes.
        radius: Ellipsoid radii, [N, 3, K, 1].
        offset: Added to each ellipsoid's distance, [N, K, 1]; ``ABSENT`` hides a part.
        eye: Eyeball centre and radius, [N, 4].
        brow: Inner and outer end and thickness of the brow, [N, 7].
        mouth: Mouth centre height and half width, [N, 2].
        nose: Tip of the nose, [N, 3].
    """

    factors: Tensor
    centre: Tensor
    radius: Tensor
    offset: Tensor
    eye: Tensor
    brow: Tensor
    mouth: Tensor
    nose: Tensor

    def __len__(self) -> int:
        """Number of heads."""
        return len(self.factors)

    def factor(self, name: str) -> Tensor:
        """One factor as a column that broadcasts over points, [N, 1]."""
        return self.factors[:, FACTOR_INDEX[name], None]


SKIN_PARTS, HAIR_PARTS = 9, 4
"""How many ellipsoids are skin and how many hair; the last one is the clothes."""

Part = tuple[Tensor, Tensor, Tensor | float]
"""Centre [N, 3], radii [N, 3] and offset (0, or ``ABSENT``) of an ellipsoid."""


@dataclass(frozen=True)
class _Build:
    """What the places of all parts depend on: style, size, skull and jaw."""

    emoji: bool
    width: Tensor
    height: Tensor
    skull: Part
    jaw: Part

    def vec(self, x: Tensor | float, y: Tensor | float, z: Tensor | float) -> Tensor:
        """Stack numbers or columns [N] to points [N, 3]."""
        return _vec(self.width, x, y, z)

    def front(self, x: Tensor | float, y: Tensor | float) -> Tensor:
        """Height z of the front of the skull over (x, y), [N]."""
        centre, radius, _ = self.skull
        across = ((x - centre[:, 0]) / radius[:, 0]) ** 2
        along = ((y - centre[:, 1]) / radius[:, 1]) ** 2
        inside = (1 - across - along).clamp(min=0.02)
        return centre[:, 2] + radius[:, 2] * inside.sqrt()


def build_shape(factors: Tensor, *, style: str) -> HeadShape:
    """Place the parts of heads.

    Args:
        factors: Rows of factors, [N, F].
        style: ``clay``, or ``emoji``: a round head without neck, ears and clothes.

    Returns:
        The shapes, on the device of ``factors``.
    """
    f = {name: factors[:, index] for name, index in FACTOR_INDEX.items()}
    build = _build(f, emoji=style == "emoji")
    eye = _eyes(f, build)
    nose = _nose_tip(f, build)
    clothes = (build.vec(0, -1.10, -0.14), build.vec(0.80, 0.42, 0.40), ABSENT * build.emoji)
    parts = [*_skin_parts(f, build, nose), *_hair_parts(f, build), clothes]
    grin, opened = f["smile"].clamp(min=0), f["mouth_open"]
    mouth_y = -0.285 * build.height - 0.02 * opened
    mouth_width = 0.165 + 0.055 * grin - 0.045 * opened * (1 - grin)
    return HeadShape(
        factors=factors,
        centre=torch.stack([centre for centre, _, _ in parts], dim=-1)[..., None],
        radius=torch.stack([radius for _, radius, _ in parts], dim=-1)[..., None],
        offset=torch.stack([0 * eye[:, 0] + offset for *_, offset in parts], dim=-1)[..., None],
        eye=eye,
        brow=_brows(f, build, eye),
        mouth=torch.stack([mouth_y, mouth_width * (1.35 if build.emoji else 1.0)], dim=-1),
        nose=nose + build.vec(0, 0, 0.08 * (0.55 if build.emoji else 1.0)),
    )


def _build(f: dict[str, Tensor], *, emoji: bool) -> _Build:
    width = 1 + (0.05 if emoji else 0.13) * f["head_width"]
    height = 1 + (0.05 if emoji else 0.11) * f["head_height"]
    if emoji:
        skull = _vec(width, 0, 0, -0.02), _vec(width, 0.66 * width, 0.64 * height, 0.55)
        jaw_x = (0.5 + 0.04 * f["jaw"]) * width
        jaw = _vec(width, 0, -0.2, 0), _vec(width, jaw_x, 0.4 * height, 0.42)
    else:
        skull = (
            _vec(width, 0, 0.14 * height, -0.05),
            _vec(width, 0.47 * width, 0.50 * height, 0.51),
        )
        jaw_y, jaw_x = -0.20 * height - 0.05 * f["mouth_open"], (0.345 + 0.065 * f["jaw"]) * width
        jaw = _vec(width, 0, jaw_y, 0.05), _vec(width, jaw_x, 0.36 * height, 0.385)
    return _Build(emoji, width, height, (*skull, 0.0), (*jaw, 0.0))


def _vec(like: Tensor, x: Tensor | float, y: Tensor | float, z: Tensor | float) -> Tensor:
    """Stack numbers or columns of ``like``'s shape [N] to points [N, 3]."""
    zero = torch.zeros_like(like)
    return torch.stack([zero + x, zero + y, zero + z], dim=-1)


def _eyes(f: dict[str, Tensor], build: _Build) -> Tensor:
    """Eyeball centre and radius, [N, 4]."""
    radius = 0.108 * (1 + 0.24 * f["eye_size"]) * (1.12 if build.emoji else 1)
    x = (0.185 + 0.03 * f["eye_spacing"]) * build.width * (1.15 if build.emoji else 1)
    y = 0.07 * build.height
    z = build.front(0.185, y) - (0.075 if build.emoji else 0.04)
    return torch.stack([x, y, z, radius], dim=-1)


def _nose_tip(f: dict[str, Tensor], build: _Build) -> Tensor:
    """Centre of the ball of the nose, [N, 3]."""
    y = -0.09 * build.height - 0.025 * f["nose_size"]
    return build.vec(0, y, build.front(0.0, -0.06) + 0.045 + 0.05 * f["nose_size"])


def _skin_parts(f: dict[str, Tensor], build: _Build, nose: Tensor) -> list[Part]:
    """Skull, jaw, chin, cheek, ball, bridge and wing of the nose, ear, neck."""
    vec, width, height = build.vec, build.width, build.height
    clay_only = ABSENT * build.emoji
    grin = f["smile"].clamp(min=0)
    chin_y = -0.50 * height - 0.07 * f["mouth_open"]
    _, nose_y, nose_z = nose.unbind(-1)
    nose_scale = 0.55 if build.emoji else 1.0
    nose_x = 0.062 + 0.024 * f["nose_width"]
    bridge_x = 0.045 + 0.012 * f["nose_width"]
    cheek = vec(0.215 * width, -0.10 * height + 0.035 * grin, 0.25)
    return [
        build.skull,
        build.jaw,
        (vec(0, chin_y, 0.24), vec(0.11 + 0.035 * f["jaw"], 0.10, 0.12), clay_only),
        (cheek, vec(0.165, 0.14 + 0.02 * grin, 0.165 + 0.035 * grin), clay_only),
        (nose, nose_scale * vec(nose_x + 0.012, 0.066, 0.085), 0.0),
        (vec(0, 0.03, nose_z - 0.085), nose_scale * vec(bridge_x, 0.15, 0.085), clay_only),
        (
            vec(nose_x, nose_y - 0.015, nose_z - 0.055),
            nose_scale * vec(0.042, 0.04, 0.055),
            clay_only,
        ),
        (vec(0.475 * width, 0.02, -0.06), vec(0.055, 0.125, 0.085), clay_only),
        (vec(0, -0.70, -0.12), vec(0.215, 0.45, 0.22), clay_only),
    ]


def _brows(f: dict[str, Tensor], build: _Build, eye: Tensor) -> Tensor:
    """Inner end, outer end and thickness of the brow, [N, 7]; women's are thinner."""
    anger, surprise = (-f["brows"]).clamp(min=0), f["brows"].clamp(min=0)
    worry = (-f["smile"]).clamp(min=0)
    x, y = eye[:, 0], eye[:, 1] + eye[:, 3] + 0.055
    inner_x, inner_y = x - 0.105, y - 0.085 * anger + 0.085 * surprise + 0.03 * worry
    outer_x, outer_y = x + 0.105, y + 0.035 * anger + 0.045 * surprise
    inner = build.vec(inner_x, inner_y, build.front(inner_x, inner_y) + 0.012)
    outer = build.vec(outer_x, outer_y, build.front(outer_x, outer_y) + 0.012)
    thickness = 0.024 + 0.012 * (f["lips"] < 0.5)
    return torch.cat([inner, outer, thickness[:, None]], dim=-1)


def _hair_parts(f: dict[str, Tensor], build: _Build) -> list[Part]:
    """Cap, side lock, back of the hair and bun."""
    style, length = f["hair_style"].round(), f["hair_length"]
    bald, long, bun = style == 0, style == 2, style == 3
    centre, radius, _ = build.skull
    full = 0.035 + 0.04 * length + 0.02 * long
    lock = 0.26 + 0.30 * length
    side_x = 0.43 * build.width
    return [
        (
            centre + build.vec(0, 0.02 + 0.02 * length, -0.045),
            radius + full[:, None],
            ABSENT * bald,
        ),
        (
            build.vec(side_x + 0.02 * length, 0.16 - lock, -0.07),
            build.vec(0.135, lock + 0.08, 0.20),
            ABSENT * ~long,
        ),
        (
            build.vec(0, 0.12 - 0.8 * lock, -0.27),
            build.vec(side_x, lock + 0.1, 0.24),
            ABSENT * ~long,
        ),
        (
            build.vec(0, 0.74 * build.height + 0.04 * length, -0.14),
            (0.155 + 0.05 * length)[:, None].expand(-1, 3),
            ABSENT * ~bun,
        ),
    ]


def part_distances(shape: HeadShape, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Signed distances from points to the five materials.

    Args:
        shape: N heads.
        x: First coordinate of P points a head, head units, [N, P].
        y: Second coordinate, [N, P].
        z: Third coordinate, [N, P].

    Returns:
        [5, N, P], in the order ``SKIN``, ``HAIR``, ``CLOTH``, ``EYE``, ``FRAME``; negative inside.
    """
    x = x.abs()
    ellipsoids = _ellipsoid_distances(shape, x, y, z)  # [N, K, P]
    skin_parts = ellipsoids[:, :SKIN_PARTS]
    skin = -SKIN_BLEND * torch.logsumexp(skin_parts / -SKIN_BLEND, dim=1)
    skin = skin - _beard_bulge(shape, x, y, z)
    hair = _hair_distance(shape, ellipsoids[:, SKIN_PARTS : SKIN_PARTS + HAIR_PARTS], x, y, z)
    ex, ey, ez, er = (shape.eye[:, i, None] for i in range(4))
    dx, dy, dz = x - ex, y - ey, z - ez
    ball = (dx * dx + dy * dy + dz * dz).sqrt()
    eye = ball - er
    skin = torch.minimum(skin, _lid_distance(shape, ball, dx, dy, er))
    brow = _segment_distance(
        shape.brow[:, :3, None], shape.brow[:, 3:6, None], x, y, z, shape.brow[:, 6:7]
    )
    hair = torch.minimum(hair, brow)
    frame = _frame_distance(shape, x, y, z)
    return torch.stack([skin, hair, ellipsoids[:, -1], eye, frame])


def _ellipsoid_distances(shape: HeadShape, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """First-order distances to all ellipsoids, |p/r| (|p/r| - 1) / |p/r²|, [N, K, P]."""
    scaled = [
        (p[:, None] - shape.centre[:, i]) / shape.radius[:, i] for i, p in enumerate((x, y, z))
    ]
    k0 = (scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2).clamp(min=1e-6).sqrt()
    k1 = sum(((s / shape.radius[:, i]) ** 2 for i, s in enumerate(scaled)), torch.zeros_like(k0))
    return k0 * (k0 - 1) * k1.clamp(min=1e-6).rsqrt() + shape.offset


def _hair_distance(shape: HeadShape, parts: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Cap cut open in front of a plane from the forehead to behind the ears, plus the rest."""
    length = shape.factor("hair_length")
    woman = (shape.factor("lips") > 0.5).float()
    hairline = 0.06 + 0.06 * (1 - length) - 0.03 * woman
    cut = hairline - (0.666 * y - 0.746 * z - 0.25 * x * x) - 0.02 * torch.sin(9 * x)
    cap = _smooth_maximum(parts[:, 0], cut)
    strands = 0.008 * torch.sin(34 * x + 6 * y) * torch.cos(12 * z)
    rest = parts[:, 1:]
    joined = torch.cat([cap[:, None], rest], dim=1)
    return -HAIR_BLEND * torch.logsumexp(joined / -HAIR_BLEND, dim=1) + strands


def _smooth_maximum(a: Tensor, b: Tensor) -> Tensor:
    """Maximum of two distances with a rounded edge of 0.03 head units."""
    return 0.5 * (a + b + ((a - b) ** 2 + 0.0009).sqrt())


def _lid_distance(shape: HeadShape, ball: Tensor, dx: Tensor, dy: Tensor, er: Tensor) -> Tensor:
    """Shell around the eyeball, open between an upper and a lower lid."""
    brow, smile = shape.factor("brows"), shape.factor("smile")
    age = shape.factor("age")
    upper = er * (0.50 + 0.42 * brow.clamp(min=0) - 0.22 * (-brow).clamp(min=0) - 0.12 * age)
    slant = 0.55 * (-brow).clamp(min=0) - 0.25 * (-smile).clamp(min=0) * (brow > -0.2)
    lower = -er * (0.72 - 0.42 * smile.clamp(min=0))
    opening = torch.maximum(dy - upper - slant * dx, lower - dy)
    return torch.maximum(ball - (er + 0.016), -opening)


def beard_mask(shape: HeadShape, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """How much a point lies in the beard's place, 0..1, [N, P]; x is folded."""
    mouth_y, mouth_w = shape.mouth[:, 0, None], shape.mouth[:, 1, None]
    top = mouth_y + 0.085 + 0.9 * (x - 0.17).clamp(min=0)
    lip = 1 - ((x / (mouth_w + 0.02)) ** 2 + ((y - mouth_y) / 0.055) ** 2).sqrt()
    below = torch.sigmoid((top - y) / 0.03)
    return below * torch.sigmoid(-lip / 0.12) * torch.sigmoid((z + 0.02) / 0.04) * (y > -0.72)


def _beard_bulge(shape: HeadShape, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    beard = (shape.factor("beard") - 0.25).clamp(min=0)
    return 0.10 * beard * beard_mask(shape, x, y, z)


def _segment_distance(
    a: Tensor, b: Tensor, x: Tensor, y: Tensor, z: Tensor, radius: Tensor | float
) -> Tensor:
    """Distance to a round segment from a to b, [N, 3, 1] each."""
    ax, ay, az = x - a[:, 0], y - a[:, 1], z - a[:, 2]
    bx, by, bz = ((b - a)[:, i] for i in range(3))
    along = (ax * bx + ay * by + az * bz) / (bx * bx + by * by + bz * bz)
    along = along.clamp(0, 1)
    dx, dy, dz = ax - along * bx, ay - along * by, az - along * bz
    return (dx * dx + dy * dy + dz * dz).sqrt() - radius


FRAME_RADIUS = 0.158  # of a lens, head units
FRAME_THICKNESS = 0.021


def frame_centre(shape: HeadShape) -> tuple[Tensor, Tensor, Tensor]:
    """Centre of the folded lens, three [N, 1]."""
    ex, ey, ez, er = (shape.eye[:, i, None] for i in range(4))
    return ex.clamp(min=FRAME_RADIUS + 0.015), ey - 0.005, ez + er + 0.045


def _frame_distance(shape: HeadShape, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    cx, cy, cz = frame_centre(shape)
    hidden = ABSENT * (1 - shape.factor("glasses"))
    ring = (((x - cx) ** 2 + (y - cy) ** 2).sqrt() - FRAME_RADIUS) ** 2 + (z - cz) ** 2
    zero = torch.zeros_like(cx)

    def at(px: Tensor, py: Tensor, pz: Tensor) -> Tensor:
        return torch.stack([px, py, pz], dim=1)  # [N, 3, 1]

    bridge = _segment_distance(
        at(zero, cy + 0.045, cz + 0.01),
        at(cx - FRAME_RADIUS, cy + 0.03, cz),
        x,
        y,
        z,
        FRAME_THICKNESS,
    )
    temple = _segment_distance(
        at(cx + FRAME_RADIUS, cy + 0.02, cz),
        at(zero + 0.53, cy + 0.02, zero),
        x,
        y,
        z,
        FRAME_THICKNESS,
    )
    rings = (ring + 1e-8).sqrt() - FRAME_THICKNESS
    return torch.minimum(torch.minimum(rings, bridge), temple) + hidden
