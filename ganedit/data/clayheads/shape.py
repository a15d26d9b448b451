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


SKIN_PARTS, HAIR_PARTS, CLOTH_PARTS = 9, 4, 1


def build_shape(factors: Tensor, *, style: str) -> HeadShape:
    """Place the parts of heads.

    Args:
        factors: Rows of factors, [N, F].
        style: ``clay``, or ``emoji``: a round head without neck, ears and clothes.

    Returns:
        The shapes, on the device of ``factors``.
    """
    f = {name: factors[:, index] for name, index in FACTOR_INDEX.items()}
    zero = torch.zeros_like(f["age"])
    round_ = style == "emoji"
    width = 1 + (0.05 if round_ else 0.13) * f["head_width"]
    height = 1 + (0.05 if round_ else 0.11) * f["head_height"]
    jaw, smile, opened = f["jaw"], f["smile"], f["mouth_open"]
    grin = smile.clamp(min=0)

    def vec(x: Tensor | float, y: Tensor | float, z: Tensor | float) -> Tensor:
        return torch.stack([zero + x, zero + y, zero + z], dim=-1)  # [N, 3]

    if round_:
        skull = (vec(0, 0.0, -0.02), vec(0.66 * width, 0.64 * height, 0.55))
        jaw_part = (vec(0, -0.2, 0.0), vec((0.5 + 0.04 * jaw) * width, 0.4 * height, 0.42))
    else:
        skull = (vec(0, 0.14 * height, -0.05), vec(0.47 * width, 0.50 * height, 0.51))
        jaw_part = (
            vec(0, -0.20 * height - 0.05 * opened, 0.05),
            vec((0.345 + 0.065 * jaw) * width, 0.36 * height, 0.385),
        )
    chin_y = -0.50 * height - 0.07 * opened
    surface_z = _front(skull, 0.185, 0.07 * height)
    eye_radius = 0.108 * (1 + 0.24 * f["eye_size"]) * (1.12 if round_ else 1)
    eye_x = (0.185 + 0.03 * f["eye_spacing"]) * width * (1.15 if round_ else 1)
    eye_y = 0.07 * height
    eye_z = surface_z - (0.075 if round_ else 0.04)
    nose_z = _front(skull, 0.0, -0.06) + 0.045 + 0.05 * f["nose_size"]
    nose_y = -0.09 * height - 0.025 * f["nose_size"]
    nose_scale = 0.55 if round_ else 1.0
    nose_x = 0.062 + 0.024 * f["nose_width"]
    cheek_x, cheek_y = 0.215 * width, -0.10 * height + 0.035 * grin
    hidden = zero + ABSENT
    skin = [
        (*skull, zero),
        (*jaw_part, zero),
        (vec(0, chin_y, 0.24), vec(0.11 + 0.035 * jaw, 0.10, 0.12), hidden if round_ else zero),
        (
            vec(cheek_x, cheek_y, 0.25),
            vec(0.165, 0.14 + 0.02 * grin, 0.165 + 0.035 * grin),
            hidden if round_ else zero,
        ),
        (vec(0, nose_y, nose_z), nose_scale * vec(nose_x + 0.012, 0.066, 0.085), zero),
        (
            vec(0, 0.03, nose_z - 0.085),
            nose_scale * vec(0.045 + 0.012 * f["nose_width"], 0.15, 0.085),
            hidden if round_ else zero,
        ),
        (
            vec(nose_x, nose_y - 0.015, nose_z - 0.055),
            nose_scale * vec(0.042, 0.04, 0.055),
            hidden if round_ else zero,
        ),
        (
            vec(0.475 * width, 0.02, -0.06),
            vec(0.055, 0.125, 0.085),
            hidden if round_ else zero,
        ),
        (vec(0, -0.70, -0.12), vec(0.215, 0.45, 0.22), hidden if round_ else zero),
    ]
    hair = _hair_parts(f, skull, width, height)
    cloth = [(vec(0, -1.10, -0.14), vec(0.80, 0.42, 0.40), hidden if round_ else zero)]
    parts = [*skin, *hair, *cloth]
    brow = f["brows"]
    anger, surprise = (-brow).clamp(min=0), brow.clamp(min=0)
    brow_y = eye_y + eye_radius + 0.055
    inner_y = brow_y - 0.085 * anger + 0.085 * surprise + 0.03 * (-smile).clamp(min=0)
    outer_y = brow_y + 0.035 * anger + 0.045 * surprise
    inner_x, outer_x = eye_x - 0.105, eye_x + 0.105
    thick = 0.024 + 0.012 * (f["lips"] < 0.5)
    brow_parts = [
        vec(inner_x, inner_y, _front(skull, inner_x, inner_y) + 0.012),
        vec(outer_x, outer_y, _front(skull, outer_x, outer_y) + 0.012),
        thick[:, None],
    ]
    mouth_y = -0.285 * height - 0.02 * opened
    mouth_width = (0.165 + 0.055 * grin - 0.045 * opened * (1 - grin)) * (1.35 if round_ else 1.0)
    return HeadShape(
        factors=factors,
        centre=torch.stack([centre for centre, _, _ in parts], dim=-1)[..., None],
        radius=torch.stack([radius for _, radius, _ in parts], dim=-1)[..., None],
        offset=torch.stack([zero + offset for _, _, offset in parts], dim=-1)[..., None],
        eye=torch.stack([eye_x, eye_y, eye_z, eye_radius], dim=-1),
        brow=torch.cat(brow_parts, dim=-1),
        mouth=torch.stack([mouth_y, mouth_width], dim=-1),
        nose=vec(0, nose_y, nose_z + 0.08 * nose_scale),
    )


def _front(ellipsoid: tuple[Tensor, Tensor], x: Tensor | float, y: Tensor | float) -> Tensor:
    """Height z of the front of an ellipsoid over (x, y), [N]."""
    centre, radius = ellipsoid
    inside = 1 - ((x - centre[:, 0]) / radius[:, 0]) ** 2 - ((y - centre[:, 1]) / radius[:, 1]) ** 2
    return centre[:, 2] + radius[:, 2] * inside.clamp(min=0.02).sqrt()


def _hair_parts(
    f: dict[str, Tensor], skull: tuple[Tensor, Tensor], width: Tensor, height: Tensor
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Cap, side lock, back of the hair and bun, as (centre, radius, offset)."""
    style, length = f["hair_style"].round(), f["hair_length"]
    zero = torch.zeros_like(length)
    bald, long, bun = style == 0, style == 2, style == 3
    centre, radius = skull
    full = 0.035 + 0.04 * length + 0.02 * long
    lift = torch.stack([zero, 0.02 + 0.02 * length, zero - 0.045], dim=-1)
    lock = 0.26 + 0.30 * length
    return [
        (centre + lift, radius + full[:, None], ABSENT * bald),
        (
            torch.stack([0.43 * width + 0.02 * length, 0.16 - lock, zero - 0.07], dim=-1),
            torch.stack([zero + 0.135, lock + 0.08, zero + 0.20], dim=-1),
            ABSENT * ~long,
        ),
        (
            torch.stack([zero, 0.12 - 0.8 * lock, zero - 0.27], dim=-1),
            torch.stack([0.43 * width, lock + 0.1, zero + 0.24], dim=-1),
            ABSENT * ~long,
        ),
        (
            torch.stack([zero, 0.74 * height + 0.04 * length, zero - 0.14], dim=-1),
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
