"""Colours of a clay head: what is painted on the solid, and the light that falls on it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.data.clayheads.shape import (
    CLOTH,
    EYE,
    FRAME,
    FRAME_RADIUS,
    HAIR,
    HeadShape,
    beard_mask,
    frame_centre,
    part_distances,
)

SKIN_TONES = ((0.98, 0.80, 0.70), (0.93, 0.69, 0.54), (0.78, 0.53, 0.38), (0.55, 0.35, 0.24),
              (0.36, 0.22, 0.16))  # fmt: skip
HAIR_TONES = ((0.09, 0.08, 0.09), (0.22, 0.13, 0.08), (0.42, 0.25, 0.12), (0.62, 0.27, 0.10),
              (0.88, 0.70, 0.36))  # fmt: skip
IRIS_TONES = ((0.28, 0.16, 0.08), (0.38, 0.40, 0.14), (0.20, 0.52, 0.40), (0.18, 0.42, 0.76))
EMOJI_TONES = ((1.0, 0.87, 0.42), (1.0, 0.80, 0.24), (0.96, 0.70, 0.14))
GREY = (0.86, 0.86, 0.88)


def palette(value: Tensor, tones: tuple[tuple[float, float, float], ...]) -> Tensor:
    """Interpolate a list of colours: 0 is the first, 1 the last; [N] to [N, 3] in 0..1."""
    table = value.new_tensor(tones)
    place = value.clamp(0, 1) * (len(tones) - 1)
    low = place.floor().long().clamp(max=len(tones) - 2)
    return torch.lerp(table[low], table[low + 1], (place - low)[:, None])


def hue(value: Tensor, *, saturation: float, brightness: float) -> Tensor:
    """Colours once round the circle, [N] to [N, 3] in 0..1."""
    phase = value[:, None] + value.new_tensor([0.0, 2 / 3, 1 / 3])
    wave = 0.5 + 0.5 * torch.cos(2 * math.pi * phase)
    return brightness * (1 - saturation + saturation * wave)


def background(factors: Tensor, side: int, *, style: str) -> Tensor:
    """A soft backdrop, lighter behind the head, [N, 3, side²] in 0..1."""
    grid = torch.linspace(-1, 1, side, device=factors.device)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    glow = 1.0 - 0.22 * (x**2 + (y + 0.1) ** 2) - 0.05 * y
    if style == "emoji":
        glow = torch.ones_like(glow)
    colour = hue(factors[:, FACTOR_INDEX["background"]], saturation=0.42, brightness=0.86)
    return colour[:, :, None] * glow.reshape(1, 1, -1)


def _line(distance: Tensor, width: float) -> Tensor:
    """A soft painted stroke: 1 on the line, 0 two widths away."""
    return torch.exp(-((distance / width) ** 2))


def _step(value: Tensor, softness: float) -> Tensor:
    """0 below, 1 above zero, smooth over ``softness``."""
    return torch.sigmoid(value / (0.25 * softness))


def _mix(under: Tensor, over: Tensor, share: Tensor) -> Tensor:
    """Lay a colour [N, 3] or [N, P, 3] over another with shares [N, P]."""
    over = over[:, None] if over.ndim == 2 else over
    return torch.lerp(under, over.expand_as(under), share.clamp(0, 1)[..., None])


def paint(shape: HeadShape, point: Tensor, material: Tensor, *, style: str) -> Tensor:
    """Albedo of surface points.

    Args:
        shape: N heads.
        point: Surface points in head units, [N, P, 3].
        material: Index of the material at each point, [N, P].
        style: ``clay`` or ``emoji``.

    Returns:
        [N, P, 3] in 0..1.
    """
    x, y, z = point.unbind(-1)
    f = {name: shape.factors[:, index] for name, index in FACTOR_INDEX.items()}
    hair = torch.lerp(palette(f["hair_colour"], HAIR_TONES), x.new_tensor(GREY), f["grey"][:, None])
    emoji = style == "emoji"
    skin = palette(f["skin_tone"], EMOJI_TONES if emoji else SKIN_TONES)
    colour = _paint_skin(shape, skin, hair, x, y, z, emoji=emoji)
    waves = 1 + 0.13 * torch.sin(34 * x.abs() + 6 * y) * torch.cos(12 * z) * (not emoji)
    cloth = hue(f["clothing"], saturation=0.75, brightness=0.78)
    frame = x.new_tensor([0.07, 0.07, 0.09]).expand(len(shape), 3)
    for index, layer in (
        (HAIR, hair[:, None] * waves[..., None]),
        (CLOTH, cloth[:, None].expand_as(colour)),
        (EYE, _paint_eye(shape, x.abs(), y, z, x.sign())),
        (FRAME, frame[:, None].expand_as(colour)),
    ):
        colour = torch.where((material == index)[..., None], layer, colour)
    return colour


def _paint_eye(shape: HeadShape, x: Tensor, y: Tensor, z: Tensor, side: Tensor) -> Tensor:
    """White, iris, pupil and a fixed highlight on the folded eyeball."""
    ex, ey, _, er = (shape.eye[:, i, None] for i in range(4))
    dx, dy = (x - ex) / er, (y - ey) / er
    r = (dx**2 + dy**2).sqrt()
    iris = palette(shape.factors[:, FACTOR_INDEX["iris"]], IRIS_TONES)
    white = x.new_tensor([0.97, 0.96, 0.94]).expand(*x.shape, 3)
    colour = _mix(white, iris, _step(0.56 - r, 0.12))
    colour = _mix(colour, torch.zeros_like(iris) + 0.03, _step(0.30 - r, 0.12))
    spark = ((dx * side + 0.17) ** 2 + (dy - 0.2) ** 2).sqrt()
    return _mix(colour, torch.ones_like(iris), _step(0.15 - spark, 0.1))


def _paint_skin(
    shape: HeadShape, skin: Tensor, hair: Tensor, x: Tensor, y: Tensor, z: Tensor, *, emoji: bool
) -> Tensor:
    """Blush, wrinkles, beard and mouth, in that order."""
    side = x.abs()
    colour = skin[:, None].expand(*x.shape, 3)
    front = _step(z - 0.05, 0.1)
    ex, ey = shape.eye[:, 0, None], shape.eye[:, 1, None]
    blush = torch.exp(-((side - ex - 0.03) ** 2 + (y - ey + 0.19) ** 2) / 0.012) * front
    warm = skin * skin.new_tensor([1.04, 0.72, 0.68])
    colour = _mix(colour, warm, 0.45 * blush)
    colour = colour * (1 - _wrinkles(shape, side, y, emoji=emoji) * front)[..., None]
    beard = shape.factor("beard")
    full = _step(beard - 0.3, 0.2)
    mask = beard_mask(shape, side, y, z)
    cover = torch.lerp(0.4 * mask * (beard / 0.2).clamp(0, 1), _step(mask - 0.5, 0.35), full)
    colour = _mix(colour, 0.92 * hair, cover)
    return _paint_mouth(shape, colour, skin, x, y, front, emoji=emoji)


def _wrinkles(shape: HeadShape, x: Tensor, y: Tensor, *, emoji: bool) -> Tensor:
    """Darkness of the lines of age and of anger, [N, P]; x is folded."""
    ex, ey, _, er = (shape.eye[:, i, None] for i in range(4))
    mouth_y, mouth_w = shape.mouth[:, 0, None], shape.mouth[:, 1, None]
    age = ((shape.factor("age") - 0.3) / 0.7).clamp(0, 1) * (0.5 if emoji else 1.0)
    anger = (-shape.factor("brows")).clamp(min=0)
    smile = shape.factor("smile").clamp(min=0)
    forehead = sum(
        (_line(y - ey - h - 0.03 * x, 0.013) for h in (0.28, 0.345)), torch.zeros_like(x)
    ) * _step(0.22 - x, 0.1)
    fold_x = 0.105 + (mouth_w - 0.04) * ((-0.12 - y) / 0.2).clamp(0, 1.2)
    within = _step(-0.11 - y, 0.03) * _step(y - mouth_y, 0.06)
    fold = _line(x - fold_x, 0.018) * within
    bag_r = (((x - ex) / 1.1) ** 2 + (y - ey) ** 2).sqrt()
    bag = _line(bag_r - er - 0.045, 0.016) * _step(ey - 0.05 - y, 0.05)
    crow = (
        _line(y - ey - 0.5 * (x - ex - er), 0.012) + _line(y - ey + 0.5 * (x - ex - er), 0.012)
    ) * (_step(x - ex - er - 0.03, 0.03) * _step(ex + er + 0.13 - x, 0.03))
    frown = _line(x - 0.03, 0.013) * _step(y - ey - 0.06, 0.04) * _step(ey + 0.2 - y, 0.04)
    lines = age * (0.42 * forehead + 0.45 * fold + 0.40 * bag + 0.35 * crow)
    return (lines + 0.5 * anger * frown + 0.22 * smile * fold * (1 - age)).clamp(0, 0.7)


def mouth_curve(shape: HeadShape, u: Tensor) -> tuple[Tensor, Tensor]:
    """Heights of the upper and lower edge of the mouth at u = x / half width, [N, P] each."""
    smile, opened = shape.factor("smile"), shape.factor("mouth_open")
    middle = shape.mouth[:, 0, None] + 0.091 * smile * (u**2 - 0.3)
    bow = (1 - u**2).clamp(min=0)
    return middle + 0.05 * opened * bow, middle - 0.11 * opened * bow


def _paint_mouth(
    shape: HeadShape, colour: Tensor, skin: Tensor, x: Tensor, y: Tensor, front: Tensor, *,
    emoji: bool,
) -> Tensor:  # fmt: skip
    u = x / shape.mouth[:, 1, None]
    upper, lower = mouth_curve(shape, u)
    lips = shape.factor("lips") * (0.5 if emoji else 1.0)
    bow = (1 - u**2).clamp(min=0).sqrt()
    red = skin * skin.new_tensor([0.86, 0.50, 0.48])
    red = torch.lerp(red, skin.new_tensor([0.72, 0.12, 0.16]), 0.75 * lips)
    inside_x = _step(1.02 - u.abs(), 0.12)
    band = (0.014 + 0.034 * lips) * bow + 0.008
    lip = _step(upper + band - y, 0.025) * _step(y - lower + 1.25 * band, 0.025) * inside_x * front
    colour = _mix(colour, red, lip * (0.35 + 0.65 * lips))
    gap = torch.minimum(upper - y, y - lower)
    seam = _line(y - 0.5 * (upper + lower), 0.014) * (1 - _step(upper - lower - 0.02, 0.02))
    cavity = _step(gap, 0.016)
    dark = skin.new_tensor([0.22, 0.05, 0.06]).expand_as(skin)
    colour = _mix(colour, dark, torch.maximum(0.85 * seam, cavity) * inside_x * front)
    height = (upper - lower).clamp(min=1e-3)
    deep = _step(upper - lower - 0.035, 0.02) * cavity * inside_x * front
    teeth = _step(y - upper + 0.36 * height, 0.016) * deep
    tongue = _step(lower + 0.38 * height - y, 0.02) * deep * _step(0.62 - u.abs(), 0.2)
    colour = _mix(colour, skin.new_tensor([0.96, 0.95, 0.92]).expand_as(skin), teeth)
    return _mix(colour, skin.new_tensor([0.80, 0.30, 0.32]).expand_as(skin), tongue)


def shade(
    shape: HeadShape, point: Tensor, normal: Tensor, rays: Tensor, albedo: Tensor,
    material: Tensor, *, style: str,
) -> Tensor:  # fmt: skip
    """Light the clay, or draw the flat outline of an emoji; [N, P, 3] in about 0..1."""
    facing = -(normal * rays).sum(-1).clamp(max=0)
    if style == "emoji":
        plain = 0.93 + 0.07 * normal[..., 1]
        edge = _step(0.34 - facing, 0.2) * (material != EYE)
        return albedo * (plain * (1 - 0.5 * edge))[..., None]
    azimuth = shape.factor("light")  # radians
    key = torch.stack(
        [0.85 * azimuth.sin(), torch.full_like(azimuth, 0.55), 0.85 * azimuth.cos()], dim=-1
    )
    key = F.normalize(key, dim=-1)  # [N, 1, 3]
    lambert = ((normal * key).sum(-1) + 0.18).clamp(min=0) / 1.18
    sky = 0.5 + 0.5 * normal[..., 1]
    half = F.normalize(key - rays, dim=-1)
    gloss = (normal * half).sum(-1).clamp(min=0) ** 30
    gloss = gloss * torch.where(material == EYE, 0.35, torch.where(material == HAIR, 0.16, 0.13))
    open_ = _openness(shape, point, normal, (0.05, 0.14))
    lit = _openness(shape, point, key.expand_as(point), (0.10, 0.26))
    ambient = (0.30 + 0.16 * sky) * (0.35 + 0.65 * open_)
    light = ambient[..., None] * albedo.new_tensor([0.96, 1.0, 1.06]) + (
        0.78 * lambert * (0.35 + 0.65 * lit)
    )[..., None] * albedo.new_tensor([1.05, 1.0, 0.93])
    rim = 0.10 * (1 - facing) ** 3
    colour = albedo * light + (gloss * (0.3 + 0.7 * lit) + rim * open_)[..., None] * 0.9
    return colour


def _openness(
    shape: HeadShape, point: Tensor, direction: Tensor, reach: tuple[float, float]
) -> Tensor:
    """How free of solid the way along a direction is, 0..1, from two distances, [N, P]."""
    free = []
    for length in reach:
        gap = part_distances(shape, *(point + length * direction).unbind(-1)).amin(0)
        free.append((gap / length).clamp(0, 1))
    return (0.5 * (free[0] + free[1]) * 1.15).clamp(max=1)


def lens_tint(
    shape: HeadShape, origin: Tensor, rays: Tensor, depth: Tensor, colour: Tensor, *, style: str
) -> Tensor:
    """Glass in the frames: a cool tint and a streak where the ray passes a lens."""
    cx, cy, cz = frame_centre(shape)
    t = (cz - origin[..., 2]) / rays[..., 2]
    x = origin[..., 0] + t * rays[..., 0]
    y = origin[..., 1] + t * rays[..., 1]
    r = ((x.abs() - cx) ** 2 + (y - cy) ** 2).sqrt()
    inside = _step(FRAME_RADIUS - r, 0.02) * (t < depth) * shape.factor("glasses")
    streak = _line((x.abs() - cx) * x.sign() + (y - cy) + 0.05, 0.05)
    glass = colour * 0.86 + colour.new_tensor([0.06, 0.09, 0.12])
    glass = glass + (0.0 if style == "emoji" else 0.16) * streak[..., None]
    return torch.lerp(colour, glass, inside[..., None])
