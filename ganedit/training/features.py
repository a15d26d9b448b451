"""Training of the clay world's feature network on pictures whose truth is known."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ganedit.data.clayheads import (
    FACTOR_INDEX,
    FACTORS,
    LANDMARKS,
    landmark_positions,
    read_truth,
    render,
    sample_factors,
)
from ganedit.data.clayheads.render import CAMERA_RADIUS
from ganedit.data.dataset import ImageDataset
from ganedit.errors import GaneditError
from ganedit.features.clay import TURNS, ClayFeatures
from ganedit.io.files import write_bytes
from ganedit.progress import OnStep
from ganedit.runtime import resolve_device
from ganedit.three_d import camera_label, look_at_pose, project_points
from ganedit.training.targets import check_target

UNSEEN_SEED = 2**30
"""First seed of the heads that figures are measured on; archives should stay below it."""


_FORMAT = "clay-features"
_SPREAD = 0.25  # typical deviation of a factor, as a share of its range
_LANDMARK_SPREAD = 0.05  # typical deviation of a landmark, as a share of the picture's side

# Mirroring swaps a person's sides: these landmarks change places.
_SIDES = {"left": "right", "right": "left"}
_MIRRORED = [
    LANDMARKS.index("_".join(_SIDES.get(word, word) for word in name.split("_")))
    for name in LANDMARKS
]


@dataclass(frozen=True)
class FeatureScores:
    """How well a feature network reads unseen heads.

    Attributes:
        r2: Share of each factor's variance explained. Hair length counts heads with hair only;
            errors of turns are taken the short way round.
        hair_style_accuracy: Share of heads whose hair style is right, 0..1.
        landmark_pixels: Mean distance of a landmark from its true place, pixels.
        resolution: Side of the pictures those pixels belong to.
        style: Of the heads.
    """

    r2: dict[str, float]
    hair_style_accuracy: float
    landmark_pixels: float
    resolution: int
    style: Literal["clay", "emoji"] = "clay"


def train_clay_features(
    data: Path | str | Sequence[Path | str],
    *,
    kimg: float = 160.0,
    batch: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    device: str = "auto",
    on_step: OnStep | None = None,
) -> ClayFeatures:
    """Train `ClayFeatures` to read factors and landmarks off the pictures of an archive.

    AdamW with a cosine schedule; pictures are mirrored (with their truth), lightened, darkened,
    blurred and given noise, so that generated pictures are read as well as rendered ones.

    Args:
        data: One or several archives made by ``ganedit dataset clay``; the network reads heads of
            their styles only, and those in between if it has seen both.
        kimg: Length in thousands of pictures seen.
        batch: Pictures a step.
        learning_rate: At the start.
        seed: Of the weights and the order of the pictures.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_step: Progress with the loss.

    Returns:
        The network in eval mode, its layers calibrated (see `calibrate_layers`).

    Raises:
        GaneditError: An archive is no such archive, holds a single head, or larger pictures than
            another.
    """
    archives = _Archives([data] if isinstance(data, Path | str) else data)
    place = resolve_device(device)
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        features = ClayFeatures().to(place)
    steps = max(1, round(kimg * 1000 / batch))
    optimizer = torch.optim.AdamW(features.parameters(), lr=learning_rate, weight_decay=1e-3)
    warmup = min(200, steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps) + 1e-3),
    )
    for step in range(steps):
        index = torch.randint(len(archives.factors), (batch,), generator=random)
        mirror = torch.rand(batch, generator=random) < 0.5
        images = distort(archives.pictures(index, mirror), random).to(place)
        wanted, points = _mirror_truth(archives.factors[index], archives.landmarks[index], mirror)
        with torch.autocast(place.type, torch.bfloat16):
            outputs = features.outputs(images)
        loss = _loss(*outputs, wanted.to(place), points.to(place))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_step:
            on_step(step + 1, steps, {"loss": float(loss.detach())})
    features.eval().requires_grad_(False)
    calibrate_layers(features, archives.first(512).to(place))
    return features.cpu()


class _Archives:
    """The pictures of archives, numbered through, and their truth.

    Attributes:
        factors: [N, F].
        landmarks: As fractions of the picture's side, [N, L, 2].
    """

    def __init__(self, archives: Sequence[Path | str]) -> None:
        """Read everything.

        Raises:
            GaneditError: See `train_clay_features`.
        """
        self._datasets = []
        factors, landmarks = [], []
        for archive in archives:
            truth = read_truth(archive)
            dataset = ImageDataset(archive)
            if len(dataset) != len(truth.factors):
                raise GaneditError(
                    f"{archive}: {len(dataset)} pictures but {len(truth.factors)} rows of factors"
                )
            if len(dataset) < 2:
                raise GaneditError(f"{archive}: holds a single head; make an archive of more")
            self._datasets.append(dataset)
            factors.append(truth.factors)
            landmarks.append(_landmark_fractions(truth.factors, truth.style))
        sides = [dataset.resolution for dataset in self._datasets]
        if len(set(sides)) > 1:
            raise GaneditError(
                f"{archives[-1]}: the archives hold pictures of {', '.join(map(str, sides))}"
                " pixels; make them of one size"
            )
        self.factors, self.landmarks = torch.cat(factors), torch.cat(landmarks)

    def pictures(self, index: Tensor, mirror: Tensor) -> Tensor:
        """Return pictures [N, 3, R, R] by their numbers [N], flipped where ``mirror`` [N] says."""
        order, parts, start = [], [], 0
        for dataset in self._datasets:
            (here,) = torch.nonzero(
                (start <= index) & (index < start + len(dataset)), as_tuple=True
            )
            parts.append(dataset.batch(index[here] - start, mirror[here]))
            order.append(here)
            start += len(dataset)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def first(self, count: int) -> Tensor:
        """Return at most ``count`` pictures, the first of each archive."""
        shares = [min(len(dataset), count // len(self._datasets)) for dataset in self._datasets]
        pairs = zip(self._datasets, shares, strict=True)
        return torch.cat([dataset.batch(torch.arange(share)) for dataset, share in pairs])


def calibrate_layers(features: ClayFeatures, images: Tensor) -> None:
    """Set the layer weights so that two random heads lie at distance 1, a quarter from each layer.

    Args:
        features: Changed in place.
        images: At least two different heads, [N, 3, H, W] in [-1, 1].
    """
    maps = [F.normalize(x, dim=1, eps=1e-10) for x in features(images)]
    weights = []
    for x in maps:
        distance = (x - x.roll(1, dims=0)).square().sum(dim=1).mean()
        weights.append(1 / (len(maps) * distance))
    features.layer_weights.copy_(torch.stack(weights))


@torch.no_grad()
def score_clay_features(
    features: ClayFeatures,
    seeds: Sequence[int],
    *,
    style: Literal["clay", "emoji"] = "clay",
    resolution: int = 64,
) -> FeatureScores:
    """Measure a network on rendered heads it has not seen.

    Args:
        features: The network, in eval mode.
        seeds: Heads that are not in its training archive.
        style: Of the heads; that of the training archive.
        resolution: Side of the pictures in pixels.
    """
    truth = sample_factors(seeds)
    factors, landmarks = [], []
    for rows in truth.split(64):
        images = render(rows, resolution=resolution, style=style).image
        prediction = features.predict(images)
        factors.append(prediction.factors)
        landmarks.append(prediction.landmarks)
    predicted = torch.cat(factors)
    hair_style = truth[:, FACTOR_INDEX["hair_style"]]
    r2 = {}
    for index, factor in enumerate(FACTORS):
        seen = torch.ones(len(truth), dtype=torch.bool)
        if factor.name == "hair_length":
            seen = hair_style > 0
        true, error = truth[seen, index].double(), (predicted - truth)[seen, index].double()
        if factor.unit == "turn":
            error = (error + 0.5) % 1 - 0.5
        r2[factor.name] = float(1 - error.square().sum() / (true - true.mean()).square().sum())
    misses = (torch.cat(landmarks) - _landmark_fractions(truth, style)).norm(dim=-1)
    right = (predicted[:, FACTOR_INDEX["hair_style"]] == hair_style).float().mean()
    pixels = float(misses.mean() * resolution)
    return FeatureScores(r2, float(right), pixels, resolution, style)


def check_features_path(path: Path | str, *, overwrite: bool) -> None:
    """Check that a feature network may be written to ``path``, before hours are spent on it.

    Raises:
        GaneditError: It does not end in .safetensors, is a folder or a file of something else, or
            its folder cannot be written.
    """
    check_target(path, ours=_is_ours, overwrite=overwrite)


def save_clay_features(
    path: Path | str, features: ClayFeatures, scores: Sequence[FeatureScores]
) -> None:
    """Write a network in half precision with its figures in the metadata, atomically."""
    state = {key: value.half().contiguous() for key, value in features.state_dict().items()}
    figures = [dataclasses.asdict(one) for one in scores]
    metadata = {"ganedit": json.dumps({"format": _FORMAT, "scores": figures})}
    # Serialised in memory: safetensors' own writer hides a full disk in an error of its own kind.
    write_bytes(path, save(state, metadata=metadata))


def _is_ours(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return json.loads(metadata.get("ganedit", "{}")).get("format") == _FORMAT
    except (SafetensorError, OSError, ValueError, AttributeError, RecursionError):
        return False


def _landmark_fractions(factors: Tensor, style: Literal["clay", "emoji"]) -> Tensor:
    """Where the landmarks of heads fall, as fractions of the picture's side, [N, L, 2]."""
    yaw, pitch = factors[:, FACTOR_INDEX["yaw"]], factors[:, FACTOR_INDEX["pitch"]]
    camera = camera_label(look_at_pose(yaw, pitch, radius=CAMERA_RADIUS))
    return project_points(camera, landmark_positions(factors, style=style))


def mirror_factors(factors: Tensor) -> Tensor:
    """Return the factors of heads whose pictures were flipped left to right, [N, F]."""
    sign = torch.ones(len(FACTORS))
    sign[[FACTOR_INDEX["yaw"], FACTOR_INDEX["light"]]] = -1
    return factors * sign


def _mirror_truth(factors: Tensor, landmarks: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor]:
    """Truth of pictures after flipping those where ``mirror`` is set."""
    flipped = landmarks[:, _MIRRORED] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    return (
        torch.where(mirror[:, None], mirror_factors(factors), factors),
        torch.where(mirror[:, None, None], flipped, landmarks),
    )


def distort(images: Tensor, random: torch.Generator) -> Tensor:
    """Change brightness, contrast, blur and noise, each by its own amount a picture."""
    n = len(images)
    gain, shift, noise, blur = torch.rand(4, n, 1, 1, 1, generator=random)
    images = images * (0.92 + 0.16 * gain) + 0.1 * (shift - 0.5)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    images = torch.lerp(images, soft, (3 * blur - 2).clamp(min=0) * 0.6)
    grain = torch.randn(images.shape, generator=random)
    return (images + 0.06 * noise**3 * grain).clamp(-1, 1)


def _loss(
    scaled: Tensor,
    styles: Tensor,
    turns: Tensor,
    points: Tensor,
    truth: Tensor,
    landmarks: Tensor,
) -> Tensor:
    """Squared errors in units of each factor's spread, and cross entropies; about 1 a factor."""
    low = truth.new_tensor([factor.low for factor in FACTORS])
    high = truth.new_tensor([factor.high for factor in FACTORS])
    error = scaled - (truth - low) / (high - low)
    style, glasses = FACTOR_INDEX["hair_style"], FACTOR_INDEX["glasses"]
    weight = torch.full_like(error, _SPREAD**-2)
    weight[:, [style, glasses, *TURNS]] = 0
    weight[:, FACTOR_INDEX["hair_length"]] *= (truth[:, style] > 0).float()
    factor_loss = (weight * error.square()).sum(dim=1).mean()
    angle = 2 * math.pi * truth[:, TURNS]
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1)  # [N, turns, 2]
    turn_loss = (turns - circle).square().sum(dim=(1, 2)).mean()
    style_loss = F.cross_entropy(styles, truth[:, style].round().long())
    glasses_loss = F.binary_cross_entropy_with_logits(scaled[:, glasses], truth[:, glasses])
    landmark_loss = (points - landmarks).square().sum(dim=(1, 2)).mean() / _LANDMARK_SPREAD**2
    return factor_loss + turn_loss + style_loss + glasses_loss + 0.5 * landmark_loss
