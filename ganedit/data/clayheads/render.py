"""Sphere tracing and shading: factors in, pictures with their truth out."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.data.clayheads.captions import caption
from ganedit.data.clayheads.factors import FACTOR_INDEX, FACTORS
from ganedit.data.clayheads.paint import background, lens_tint, paint, shade
from ganedit.data.clayheads.shape import HeadShape, build_shape, part_distances
from ganedit.three_d import camera_label, camera_rays, look_at_pose, project_points

CAMERA_RADIUS = 2.7  # world units, as EG3D's FFHQ cameras
HEAD_UNIT = 0.58 * CAMERA_RADIUS / 4.2647  # world units in a head unit: a head fills the frame
BOUND = 1.4  # all geometry that a camera sees lies within this radius, head units
COARSE = 4  # rays of a coarse pixel along each side
CHUNK = 2  # heads rendered together; larger ones fall out of the cache

LANDMARKS = (
    "left_eye", "right_eye", "left_brow_inner", "left_brow_outer", "right_brow_inner",
    "right_brow_outer", "nose_tip", "mouth_left", "mouth_right", "mouth_top", "mouth_bottom",
    "chin",
)  # fmt: skip


@dataclass(frozen=True)
class ClayHeads:
    """N rendered heads and the truth about them.

    Attributes:
        image: Pictures, [N, 3, R, R] in [-1, 1].
        depth: Distance along the ray in world units, [N, 1, R, R]; infinite on the background.
        camera: EG3D labels, [N, 25]: 16 camera-to-world, 9 normalised intrinsics.
        landmarks: Pixel coordinates (x, y) of ``LANDMARKS``, [N, L, 2]; left is the person's left.
        landmarks_3d: The same in world units, [N, L, 3].
        factors: The rows that were rendered, [N, len(FACTORS)].
        captions: The same in words.
    """

    image: Tensor
    depth: Tensor
    camera: Tensor
    landmarks: Tensor
    landmarks_3d: Tensor
    factors: Tensor
    captions: list[str]


@torch.no_grad()
def render(
    factors: Tensor,
    *,
    resolution: int = 64,
    style: Literal["clay", "emoji"] = "clay",
    supersample: int = 2,
) -> ClayHeads:
    """Render heads; a head's picture depends on its own factors only.

    Args:
        factors: Rows in the order of ``FACTORS``, [N, len(FACTORS)]; on any device.
        resolution: Pixels along each side, a multiple of 4.
        style: ``clay``, the photo-like domain, or ``emoji``, flat and yellow.
        supersample: Rays along each side of a pixel; their colours are averaged.

    Returns:
        Pictures, depth, cameras, landmarks, factors and captions.

    Raises:
        ValueError: Shape, style, resolution or sampling out of range.
    """
    if factors.ndim != 2 or factors.shape[1] != len(FACTORS):
        raise ValueError(f"factors: expected [N, {len(FACTORS)}], got {list(factors.shape)}")
    if style not in ("clay", "emoji"):
        raise ValueError(f"style: expected clay or emoji, got {style!r}")
    if resolution < COARSE or resolution % COARSE or supersample < 1:
        raise ValueError(
            f"resolution: expected a multiple of {COARSE} and supersample >= 1, "
            f"got {resolution} and {supersample}"
        )
    factors = factors.float()
    yaw, pitch = factors[:, FACTOR_INDEX["yaw"]], factors[:, FACTOR_INDEX["pitch"]]
    camera = camera_label(look_at_pose(yaw, pitch, radius=CAMERA_RADIUS))
    pictures = [
        _render_chunk(rows, labels, resolution=resolution, style=style, supersample=supersample)
        for rows, labels in zip(factors.split(CHUNK), camera.split(CHUNK), strict=True)
    ]
    landmarks_3d = landmark_positions(factors, style=style)
    return ClayHeads(
        image=torch.cat([image for image, _ in pictures]),
        depth=torch.cat([depth for _, depth in pictures]),
        camera=camera,
        landmarks=project_points(camera, landmarks_3d) * resolution,
        landmarks_3d=landmarks_3d,
        factors=factors,
        captions=[caption(row) for row in factors],
    )


def _render_chunk(
    factors: Tensor, camera: Tensor, *, resolution: int, style: str, supersample: int
) -> tuple[Tensor, Tensor]:
    """Picture [n, 3, R, R] and depth [n, 1, R, R] of a few heads."""
    shape = build_shape(factors, style=style)
    side = resolution * supersample
    near = _coarse_depth(shape, camera, side)  # [n, side²], infinite where no ray can hit
    origin, direction = camera_rays(camera, side)
    origin = origin[:, :1] / HEAD_UNIT
    # Rays that may hit come first; every head of the chunk keeps as many as the fullest needs.
    order = near.isinf().to(torch.uint8).sort(dim=1, stable=True).indices
    count = max(int(near.isfinite().sum(dim=1).max()), 1)
    index = order[:, :count]
    rays = direction.gather(1, index[..., None].expand(-1, -1, 3))  # [n, count, 3]
    start = near.gather(1, index).nan_to_num(posinf=1e3)
    pixel = 1.7 / side  # width of a ray's footprint, head units
    depth, hit = _march(shape, origin, rays, start, stop=0.7 * pixel)
    point = origin + depth[..., None] * rays  # [n, count, 3]
    normal, material = _surface(shape, point, epsilon=0.6 * pixel)
    albedo = paint(shape, point, material, style=style)
    colour = shade(shape, point, normal, rays, albedo, material, style=style)
    colour = lens_tint(shape, origin, rays, depth, colour, style=style)
    full = background(factors, side, style=style)  # [n, 3, side²]
    spread = index[:, None].expand(-1, 3, -1)
    shown = torch.where(hit[:, None], colour.mT, full.gather(2, spread))
    full = full.scatter(2, spread, shown).unflatten(2, (side, side))
    image = F.avg_pool2d(full, supersample).clamp(0, 1) * 2 - 1
    depth = torch.where(hit, depth * HEAD_UNIT, torch.inf)
    rows = torch.full_like(near, torch.inf).scatter(1, index, depth)
    return image, _pool_depth(rows.unflatten(1, (side, side)), supersample)[:, None]


def _pool_depth(depth: Tensor, supersample: int) -> Tensor:
    """Mean of the hits in each pixel, [N, R, R]; background where fewer than half hit."""
    hit = depth.isfinite().float()
    share = F.avg_pool2d(hit, supersample)
    mean = F.avg_pool2d(torch.where(depth.isfinite(), depth, 0.0), supersample) / share
    return torch.where(share >= 0.5, mean, torch.inf)


def _coarse_depth(shape: HeadShape, camera: Tensor, side: int) -> Tensor:
    """A depth that no ray of a pixel has hit yet, found by marching one cone for 4x4 of them."""
    coarse = max(side // COARSE, 1)
    origin, direction = camera_rays(camera, coarse)
    origin = origin / HEAD_UNIT
    centre = -(origin * direction).sum(-1)  # depth of closest approach to the head's origin
    inside = BOUND**2 - (origin.square().sum(-1) - centre**2)
    depth = centre - inside.clamp(min=0).sqrt()
    far = centre + inside.clamp(min=0).sqrt()
    distance = CAMERA_RADIUS / HEAD_UNIT
    spread = 1.5 * math.sqrt(0.5) * (2.0 / coarse) / distance  # cone radius over depth
    x, y, z = origin.unbind(-1)
    dx, dy, dz = direction.unbind(-1)
    for _ in range(14):
        gap = part_distances(shape, x + depth * dx, y + depth * dy, z + depth * dz).amin(0)
        depth = depth + (0.95 * gap - spread * depth).clamp(min=0)
    open_ = (depth < far) & (inside > 0)
    depth = torch.where(open_, depth, torch.inf).unflatten(1, (coarse, coarse))
    return F.interpolate(depth[:, None], size=(side, side), mode="nearest").flatten(1)


def _march(
    shape: HeadShape, origin: Tensor, rays: Tensor, start: Tensor, *, stop: float
) -> tuple[Tensor, Tensor]:
    """Sphere tracing (Hart 1996): depth [n, P] and whether the ray came within ``stop``.

    Most rays arrive within a few steps; those that graze an edge go on by themselves.
    """
    depth, gap = _steps(shape, origin, rays, start, count=9)
    far = (origin * -rays).sum(-1) + BOUND
    busy = (gap >= stop) & (depth < far)
    count = int(busy.sum(dim=1).max())
    if count:
        index = busy.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :count]
        some = rays.gather(1, index[..., None].expand(-1, -1, 3))
        there = origin.expand_as(rays).gather(1, index[..., None].expand(-1, -1, 3))
        later, nearer = _steps(shape, there, some, depth.gather(1, index), count=28)
        depth, gap = depth.scatter(1, index, later), gap.scatter(1, index, nearer)
    return depth, gap < stop


def _steps(
    shape: HeadShape, origin: Tensor, rays: Tensor, depth: Tensor, *, count: int
) -> tuple[Tensor, Tensor]:
    """Advance rays by the distance to the solid, ``count`` times; depth and last distance."""
    x, y, z = origin.unbind(-1)
    dx, dy, dz = rays.unbind(-1)
    gap = torch.zeros_like(depth)
    for _ in range(count):
        gap = part_distances(shape, x + depth * dx, y + depth * dy, z + depth * dz).amin(0)
        depth = depth + 0.95 * gap
    return depth, gap


def _surface(shape: HeadShape, point: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """Unit normals [n, P, 3] by tetrahedral differences, and the material [n, P] on top."""
    normal = torch.zeros_like(point)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        step = point.new_tensor(corner)
        gap = part_distances(shape, *(point + epsilon * step).unbind(-1)).amin(0)
        normal = normal + gap[..., None] * step
    material = part_distances(shape, *point.unbind(-1)).argmin(0)
    return F.normalize(normal, dim=-1), material


@torch.no_grad()
def landmark_positions(factors: Tensor, *, style: Literal["clay", "emoji"] = "clay") -> Tensor:
    """Return the world positions of ``LANDMARKS`` without rendering, [N, L, 3].

    Args:
        factors: Rows in the order of ``FACTORS``, [N, len(FACTORS)].
        style: As in `render`.
    """
    shape = build_shape(factors, style=style)
    ex, ey, ez, er = shape.eye.unbind(-1)
    mouth_y, mouth_w = shape.mouth.unbind(-1)
    smile, opened = (factors[:, FACTOR_INDEX[name]] for name in ("smile", "mouth_open"))
    corner_y = mouth_y + 0.07 * 0.7 * smile * 1.3
    zero = torch.zeros_like(ex)
    centre_y = mouth_y - 0.3 * 0.091 * smile
    chin_y = shape.centre[:, 1, 2, 0] - shape.radius[:, 1, 2, 0]
    if style == "emoji":
        chin_y = shape.centre[:, 1, 1, 0] - shape.radius[:, 1, 1, 0]
    flat = {
        "mouth_left": (mouth_w, corner_y),
        "mouth_right": (-mouth_w, corner_y),
        "mouth_top": (zero, centre_y + 0.05 * opened),
        "mouth_bottom": (zero, centre_y - 0.11 * opened),
        "chin": (zero, chin_y + 0.03),
    }
    xy = torch.stack([torch.stack(pair, dim=-1) for pair in flat.values()], dim=1)  # [N, 5, 2]
    drop = torch.stack([*xy.unbind(-1), torch.full_like(xy[..., 0], 1.2)], dim=-1)
    down = torch.tensor([0.0, 0.0, -1.0], device=factors.device).expand_as(drop)
    depth, _ = _steps(shape, drop, down, torch.zeros_like(drop[..., 0]), count=40)
    dropped = dict(zip(flat, (drop + depth[..., None] * down).unbind(1), strict=True))
    brow = shape.brow
    flip = torch.tensor([-1.0, 1.0, 1.0], device=factors.device)
    eye = torch.stack([ex, ey, ez + er], dim=-1)
    places = {
        "left_eye": eye,
        "right_eye": eye * flip,
        "left_brow_inner": brow[:, :3],
        "left_brow_outer": brow[:, 3:6],
        "right_brow_inner": brow[:, :3] * flip,
        "right_brow_outer": brow[:, 3:6] * flip,
        "nose_tip": shape.nose,
        **dropped,
    }
    return torch.stack([places[name] for name in LANDMARKS], dim=1) * HEAD_UNIT
