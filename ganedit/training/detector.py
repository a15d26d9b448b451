"""Training of the clay world's head detector: archived heads, turned and sized, before anything."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from ganedit.data.clayheads import read_truth
from ganedit.data.clayheads.paint import background
from ganedit.data.dataset import ImageDataset
from ganedit.features.clay_detector import FRAME, STRIDE, ClayDetector
from ganedit.io.files import write_bytes
from ganedit.progress import OnStep
from ganedit.runtime import resolve_device

_CANVAS = 64  # pixels of a training picture
_FINE = 2  # samples along each side of a pixel


@dataclass(frozen=True, eq=False)
class _Heads:
    """N archived heads.

    Attributes:
        images: [N, 3, S, S] in [-1, 1].
        masks: 1 on the head, 0 on its backdrop, [N, 1, S, S].
    """

    images: Tensor
    masks: Tensor


@dataclass(frozen=True, eq=False)
class _Places:
    """Where N heads lie on their canvas: centre [N, 2] and side [N] in pixels, turn [N]."""

    centre: Tensor
    side: Tensor
    turn: Tensor


def train_clay_detector(
    data: Path | str,
    *,
    steps: int = 2500,
    batch: int = 32,
    learning_rate: float = 4e-3,
    seed: int = 0,
    device: str = "auto",
    on_step: OnStep | None = None,
) -> ClayDetector:
    """Train `ClayDetector` on the heads of an archive.

    Each picture is an archived head at a random place, size and turn, before its own backdrop or
    before gradients, textures and shapes; some are empty, of some half the head is covered, and
    both count as no head.

    Args:
        data: An archive made by ``ganedit dataset clay``.
        steps: Of AdamW, with a cosine schedule.
        batch: Pictures a step.
        learning_rate: At its height.
        seed: Of the weights and the pictures.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_step: Progress with the loss.

    Returns:
        The network in eval mode.

    Raises:
        GaneditError: The archive is no such archive.
    """
    factors = read_truth(data).factors
    dataset = ImageDataset(data)
    place = resolve_device(device)
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        detector = ClayDetector().to(place).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / 50, 0.5 + 0.5 * math.cos(math.pi * step / steps) + 1e-3),
    )
    for step in range(steps):
        index = torch.randint(len(dataset), (batch,), generator=random)
        mirror = torch.zeros(batch, dtype=torch.bool)
        images = dataset.batch(index, mirror)
        pictures, places, shown = _pictures(_cut_out(images, factors[index]), random)
        maps = detector(pictures.to(place, memory_format=torch.channels_last))
        loss = _loss(maps.float().cpu(), places, shown)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_step:
            on_step(step + 1, steps, {"loss": float(loss.detach())})
    return detector.eval().requires_grad_(False)


# Pictures


def _cut_out(images: Tensor, factors: Tensor) -> _Heads:
    """Return heads and what of their pictures is not backdrop; images [N, 3, S, S]."""
    side = images.shape[-1]
    plain = background(factors, side, style="clay").unflatten(2, (side, side)) * 2 - 1
    gap = (images - plain).abs().amax(1, keepdim=True)
    solid = ((gap - 0.03) / 0.08).clamp(0, 1)
    # Spots of the backdrop's own colour are closed.
    closed = -F.max_pool2d(-F.max_pool2d(solid, 5, 1, 2), 5, 1, 2)
    return _Heads(images, closed)


def _pictures(heads: _Heads, random: torch.Generator) -> tuple[Tensor, _Places, Tensor]:
    """Return pictures [N, 3, 64, 64], the places of their heads, and which show theirs, [N]."""
    count = len(heads.images)
    places = _random_places(count, random)
    grid = _grid(places)
    image, mask = (
        F.grid_sample(source, grid, padding_mode="border", align_corners=False)
        for source in (heads.images, heads.masks)
    )
    fine = _CANVAS * _FINE
    scene = random_scenes(count, fine, random)
    own = torch.rand(count, 1, 1, 1, generator=random) < 0.4  # before its own backdrop
    empty = torch.rand(count, 1, 1, 1, generator=random) < 0.15
    share = torch.where(empty, torch.zeros(()), torch.where(own, torch.ones(()), mask))
    picture = torch.lerp(scene, image, share)
    covered = torch.rand(count, 1, 1, 1, generator=random) < 0.15
    picture = torch.where(
        covered & _half(places, random), random_scenes(count, fine, random), picture
    )
    picture = F.avg_pool2d(picture, _FINE)
    gain = 1 + 0.15 * torch.randn(count, 3, 1, 1, generator=random)
    noise = torch.randn(picture.shape, generator=random)
    strength = 0.06 * torch.rand(count, 1, 1, 1, generator=random)
    picture = ((picture + 1) * gain - 1 + noise * strength).clamp(-1, 1)
    return picture, places, ~(empty | covered)[:, 0, 0, 0]


def _random_places(count: int, random: torch.Generator) -> _Places:
    centre = _CANVAS * (0.1 + 0.8 * torch.rand(count, 2, generator=random))
    # Most are of a size to be found here, some of one that another reduction shows better.
    reach = torch.where(torch.rand(count, generator=random) < 0.75, 0.8, 2.2)
    side = FRAME * (reach * (2 * torch.rand(count, generator=random) - 1)).exp2()
    any_turn = math.pi * (2 * torch.rand(count, generator=random) - 1)
    often = torch.rand(count, generator=random) < 0.6
    return _Places(centre, side, torch.where(often, any_turn / 4, any_turn))


def _grid(places: _Places) -> Tensor:
    """Return where each fine pixel of a canvas lies in the head's frame, [N, h, w, 2] in -1..1."""
    at = (torch.arange(_CANVAS * _FINE) + 0.5) / _FINE
    y, x = torch.meshgrid(at, at, indexing="ij")
    x = x - places.centre[:, 0, None, None]
    y = y - places.centre[:, 1, None, None]
    cos, sin = places.turn.cos()[:, None, None], places.turn.sin()[:, None, None]
    half = places.side[:, None, None] / 2
    return torch.stack([(cos * x + sin * y) / half, (cos * y - sin * x) / half], -1)


def _half(places: _Places, random: torch.Generator) -> Tensor:
    """Return where a side of each head is, from the middle of its face on, [N, 1, h, w]."""
    grid = _grid(places)
    angle = 2 * math.pi * torch.rand(len(grid), 1, 1, generator=random)
    across = grid[..., 0] * angle.cos() + grid[..., 1] * angle.sin()
    return (across > 0.2 * torch.rand(len(grid), 1, 1, generator=random) - 0.1)[:, None]


def random_scenes(count: int, side: int, random: torch.Generator) -> Tensor:
    """Return pictures without heads: gradients, textures and shapes.

    Args:
        count: How many, N.
        side: Pixels along each side, S.
        random: What they are drawn from, on the CPU.

    Returns:
        [N, 3, S, S] in [-1, 1].
    """
    at = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(at, at, indexing="ij")
    colours = 2 * torch.rand(5, count, 3, 1, 1, generator=random) - 1
    angle = 2 * math.pi * torch.rand(count, 1, 1, 1, generator=random)
    scene = torch.lerp(colours[0], colours[1], (x * angle.cos() + y * angle.sin() + 1) / 2)
    for cells in (2, 5, 12, 32, side):
        grain = 2 * torch.rand(count, 3, cells, cells, generator=random) - 1
        grey = torch.rand(count, 1, 1, 1, generator=random) < 0.5
        grain = torch.where(grey, grain[:, :1], grain)
        grain = F.interpolate(grain, size=(side, side), mode="bilinear")
        scene = scene + grain * torch.rand(count, 1, 1, 1, generator=random) ** 3
    for colour in colours[2:]:
        place = 2.4 * torch.rand(count, 2, 1, 1, generator=random) - 1.2
        extent = 0.1 + 0.6 * torch.rand(count, 2, 1, 1, generator=random)
        across, along = (x - place[:, :1]) / extent[:, :1], (y - place[:, 1:]) / extent[:, 1:]
        round_ = across**2 + along**2
        square = torch.maximum(across.abs(), along.abs())
        edge = torch.where(torch.rand(count, 1, 1, 1, generator=random) < 0.6, round_, square)
        shaded = colour * (
            1 - 0.5 * edge.clamp(0, 1) * torch.rand(count, 1, 1, 1, generator=random)
        )
        scene = torch.where(edge < 1, shaded, scene)
    return scene.clamp(-1, 1)


# Loss


def _loss(maps: Tensor, places: _Places, shown: Tensor) -> Tensor:
    """Return presence (cross-entropy) and place (where there is a head) against the truth."""
    at = STRIDE * (torch.arange(maps.shape[-1]) + 0.5)
    y, x = torch.meshgrid(at, at, indexing="ij")
    offset = places.centre[:, :, None, None] - torch.stack([x, y])  # [N, 2, h, w]
    octaves = (places.side / FRAME).log2()
    distance = offset.norm(dim=1) / places.side[:, None, None]
    sized = shown & (octaves.abs() < 0.65)
    present = (distance < 0.25) & sized[:, None, None]
    # Between head and none nothing is asked.
    near = (distance < 0.4) & (shown & (octaves.abs() < 1))[:, None, None]
    unsure = near & ~present
    entropy = F.binary_cross_entropy_with_logits(maps[:, 0], present.float(), reduction="none")
    loss = entropy[~unsure].mean() * 8
    truth = torch.cat(
        [
            offset / FRAME,
            octaves[:, None, None, None].expand(-1, 1, *distance.shape[1:]),
            torch.stack([places.turn.cos(), places.turn.sin()], 1)[:, :, None, None].expand_as(
                offset
            ),
        ],
        1,
    )
    if bool(present.any()):
        gap = F.smooth_l1_loss(maps[:, 1:], truth, beta=0.1, reduction="none").sum(1)
        loss = loss + gap[present].mean()
    return loss


def save_clay_detector(path: Path | str, detector: ClayDetector) -> None:
    """Write a detector in half precision (.safetensors), atomically.

    Raises:
        GaneditError: The disk fails.
    """
    state = {
        key: value.detach().cpu().half().contiguous()
        for key, value in detector.state_dict().items()
    }
    write_bytes(path, save(state, {"format": "clay-detector"}))
