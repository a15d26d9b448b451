"""What is particular to the training of tri-plane generators (Chan et al. 2022, EG3D).

The discriminator sees two pictures at once, what the rays saw and what was made of it (dual
discrimination, section 4.3), and is told the camera. So is the mapping network, but often of
another camera (generator pose conditioning, section 4.4).
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.assets import asset_path
from ganedit.checkpoints import Network
from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.errors import GaneditError
from ganedit.features import ClayFeatures, load_clay_features
from ganedit.generators import StyleGAN2Discriminator, StyleGAN2Generator, TriPlaneGenerator
from ganedit.generators.triplane import CAMERA_NUMBERS
from ganedit.io.directions import load_directions
from ganedit.losses.perceptual import PerceptualDistance, clay_distance
from ganedit.ops import upfirdn2d
from ganedit.three_d import check_camera, poses, random_draws
from ganedit.three_d.conventions import check_convention
from ganedit.training.config import TrainingConfig

_DENSITY_POINTS = 1000  # of a picture, that the density penalty compares
_BLUR_REACH = 3  # standard deviations
_POSE = ("yaw", "pitch")
_LARGEST_TURN = 2.2  # standard deviations of the directions; farther, heads change with the pose


def new_triplane(config: TrainingConfig, *, resolution: int, cameras: Tensor) -> TriPlaneGenerator:
    """Build an untrained generator.

    Args:
        config: Resolved options.
        resolution: Side of the pictures.
        cameras: Of the data, [N, 25]; their mean distance, focal length and the point that they
            look at are the network's usual camera.
    """
    assert config.neural_resolution is not None
    assert config.plane_resolution is not None  # both resolved
    ratio = resolution // config.neural_resolution
    small = config.channel_max // 2
    return TriPlaneGenerator(
        z_dim=config.z_dim,
        w_dim=config.w_dim,
        img_resolution=resolution,
        mapping_layers=config.mapping_layers,
        channel_base=config.channel_base,
        channel_max=config.channel_max,
        plane_resolution=config.plane_resolution,
        plane_channels=config.plane_channels,
        plane_axes="fixed",
        box_size=config.box_size,
        decoder_features=config.decoder_features,
        neural_resolution=config.neural_resolution,
        ray_start=config.ray_start,
        ray_end=config.ray_end,
        coarse_samples=config.coarse_samples,
        fine_samples=config.fine_samples,
        white_back=config.white_back,
        sr_channels=[small, small // 2] if ratio > 1 else [],
        sr_resolution=config.neural_resolution,
        **{f"camera_{name}": value for name, value in usual_sphere(cameras).items()},
    )


def usual_sphere(cameras: Tensor) -> dict[str, Any]:
    """Return radius, pivot and focal length of a generator's usual cameras, as `orbits` takes them.

    Args:
        cameras: Of the data, [N, 25].
    """
    pose = cameras[:, :16].reshape(-1, 4, 4).double()
    position, forward = pose[:, :3, 3], pose[:, :3, 2]
    # The point nearest to all optical axes: sum (I - f f^T) (p - o) = 0. With hardly any movement
    # of the cameras it is not defined along them, and stays near the world's origin.
    across = torch.eye(3, dtype=pose.dtype) - forward[:, :, None] * forward[:, None]
    system = across.mean(0) + 1e-4 * torch.eye(3, dtype=pose.dtype)
    pivot = torch.linalg.solve(system, (across @ position[..., None])[..., 0].mean(0))
    return {
        "radius": round(float(position.norm(dim=1).mean()), 4),
        "pivot": [round(float(x), 3) + 0.0 for x in pivot],
        "focal": round(float(cameras[:, 16].double().mean()), 4),
    }


def check_cameras(config: TrainingConfig, labels: Tensor | None) -> Tensor:
    """Return the labels of the data, as cameras.

    Raises:
        GaneditError: There are none, or they are something else.
    """
    if labels is None or labels.shape[1] != CAMERA_NUMBERS:
        what = "no labels" if labels is None else f"labels of {labels.shape[1]} numbers"
        raise GaneditError(
            f"{config.data}: has {what}; a tri-plane training needs the camera of each picture, 25"
            " numbers in EG3D's convention, in dataset.json (`ganedit dataset clay` writes them)"
        )
    try:
        check_camera(labels)
        check_convention(labels, kind="ganedit")
    except ValueError as error:
        raise GaneditError(f"{config.data}: its labels are no cameras ({error})") from error
    return labels


def check_sizes(config: TrainingConfig, resolution: int) -> None:
    """Check what the sides of planes and of what rays see can be.

    Args:
        config: Resolved options.
        resolution: Side of the pictures.

    Raises:
        GaneditError: One is not.
    """
    assert config.neural_resolution is not None
    assert config.plane_resolution is not None
    allowed = [resolution, resolution // 2, resolution // 4]
    if config.neural_resolution not in allowed:
        raise GaneditError(
            f"--neural-resolution must be {', '.join(map(str, allowed[:2]))} or {allowed[2]} for"
            f" pictures of {resolution} pixels, got {config.neural_resolution}"
        )
    if (config.neural_start or 0) > config.neural_resolution:
        raise GaneditError(
            f"--neural-start must be at most --neural-resolution {config.neural_resolution}, got"
            f" {config.neural_start}"
        )
    if config.plane_resolution & (config.plane_resolution - 1):
        raise GaneditError(
            f"--plane-resolution must be a power of two, got {config.plane_resolution}"
        )


def lift(generator: TriPlaneGenerator, flat: StyleGAN2Generator) -> None:
    """Start a tri-plane generator from one of pictures, in place.

    What has the same name and shape is taken over. The first plane begins as the picture itself:
    rows of a plane go up with the world's y, those of a picture go down, so kernels are flipped.

    Args:
        generator: New, with the sizes of ``flat``.
        flat: A StyleGAN2 of the same world.
    """
    mine, found = generator.backbone.state_dict(), flat.state_dict()
    for name, value in found.items():
        if name == "mapping.fc0.weight":
            # Half of its input is new, the camera; its gain is 1 / sqrt(inputs).
            more = mine[name].shape[1] - value.shape[1]
            gain = math.sqrt(mine[name].shape[1] / value.shape[1])
            found[name] = F.pad(value * gain, (0, max(more, 0)))
        elif name.startswith("synthesis") and _is_map(name):
            found[name] = value.flip(-2)
        if name.endswith(("torgb.weight", "torgb.bias")):
            found[name] = torch.cat([found[name], mine[name][len(value) :]])
    _take(generator.backbone, found)


def lift_discriminator(discriminator: StyleGAN2Discriminator, flat: torch.nn.Module) -> None:
    """Start the discriminator of a tri-plane training from one of pictures, in place.

    It begins with half of its first layer for either of the two pictures that it sees.
    """
    found = flat.state_dict()
    for name, value in found.items():
        if name.endswith("fromrgb.weight"):
            found[name] = torch.cat([value, value], dim=1) * (math.sqrt(2) / 2)
    _take(discriminator, found)


@dataclass(frozen=True, eq=False)
class Teacher:
    """A generator of pictures that shows a volume made from it what to look like.

    A latent of pictures holds one pose. Moved along the directions of pose, it shows its head from
    other sides too; from one side alone, a volume would learn flat pictures of that side.

    Attributes:
        generator: Of pictures, frozen.
        turns: What a standard deviation of yaw and of pitch add to latents, [2, num_ws, w_dim].
        reader: Reads the pose of its heads.
        distance: Between pictures.
        sphere: Where its cameras are, see `usual_sphere`.
    """

    generator: StyleGAN2Generator
    turns: Tensor
    reader: ClayFeatures
    distance: PerceptualDistance
    sphere: Mapping[str, Any]

    @torch.no_grad()
    def show(self, ws: Tensor) -> tuple[Tensor, Tensor]:
        """Return pictures [N, 3, R, R] of turned heads, and the cameras that see them so."""
        amounts = (2 * torch.rand(len(ws), 2, device=ws.device) - 1) * _LARGEST_TURN
        turned = ws + torch.einsum("nt,tlw->nlw", amounts, self.turns)
        images = self.generator.synthesize(turned).float().clamp(-1, 1)
        factors = self.reader.predict(images).factors
        yaw, pitch = (factors[:, FACTOR_INDEX[name]] for name in _POSE)
        return images, poses(yaw, pitch, **self.sphere)


def new_teacher(
    network: Network, cameras: Tensor, device: torch.device, *, directions: Path | None
) -> Teacher:
    """Return a frozen teacher of the clay world.

    Args:
        network: A StyleGAN2 of clay heads.
        cameras: Of the data, [N, 25].
        device: Where everything lives.
        directions: File of its directions, ``yaw`` and ``pitch`` among them; None is the embedded
            one of ``clay``.

    Raises:
        GaneditError: The network is none of clay heads, or the directions are not its own.
    """
    flat = network.generator
    origin = network.metadata.get("provenance", {})
    if not isinstance(flat, StyleGAN2Generator) or origin.get("perceptual") != "clay":
        raise GaneditError(
            f"{network.source}: --lift-kimg shows a volume the pictures of a StyleGAN2 of clay"
            " heads, whose pose can be read; leave it out"
        )
    path = asset_path("clay-directions") if directions is None else directions
    found = load_directions(path)
    if not network.accepts(found.fingerprint) or found.scales is None:
        raise GaneditError(
            f"{path}: directions of another network than {network.source}; fit its own with"
            " `ganedit directions fit`, and name them with --lift-directions"
        )
    index = [found.find(name) for name in _POSE]
    turns = found.vectors[index] * found.scales[index, None, None]
    reader = load_clay_features(device)
    generator = copy.deepcopy(flat).to(device).eval().requires_grad_(False)
    turns = turns.expand(-1, generator.num_ws, -1).to(device)
    return Teacher(generator, turns, reader, clay_distance(reader), usual_sphere(cameras))


def lift_loss(drawn: Tensor, wanted: Tensor, distance: PerceptualDistance) -> Tensor:
    """Return how far pictures of a volume are from what should be seen, a scalar.

    Args:
        drawn: As `fake_pictures` gives them, [N, 6, R, R].
        wanted: As `real_pictures` does, [N, 6, R, R].
        distance: Compares pictures, besides their pixels.
    """
    return (drawn - wanted).abs().mean() + distance(drawn[:, :3], wanted[:, :3]).mean()


def _is_map(name: str) -> bool:
    return name.endswith((".const", ".noise_const")) or (
        name.endswith(".weight") and "affine" not in name
    )


def _take(network: torch.nn.Module, found: dict[str, Tensor]) -> None:
    state = network.state_dict()
    fitting = {k: v for k, v in found.items() if k in state and v.shape == state[k].shape}
    network.load_state_dict(state | fitting)


def neural_resolution(config: TrainingConfig, images: int) -> int:
    """Return the rays along a side of the raw pictures, after so many images."""
    assert config.neural_resolution is not None  # resolved
    start = config.neural_start or config.neural_resolution
    share = min(images / max(config.neural_kimg * 1000, 1), 1.0)
    return round(start + (config.neural_resolution - start) * share)


def told_cameras(config: TrainingConfig, cameras: Tensor, images: int) -> Tensor:
    """Return what the mapping network is told: the picture's camera, or that of another one.

    The probability of another one falls from 1 to ``swap_probability`` in the first ``swap_kimg``.
    """
    share = min(images / max(config.swap_kimg * 1000, 1), 1.0)
    probability = 1 + (config.swap_probability - 1) * share
    swap = torch.rand(len(cameras), 1) < probability
    return torch.where(swap.to(cameras.device), cameras.roll(1, dims=0), cameras)


def fake_pictures(
    config: TrainingConfig, generator: TriPlaneGenerator, ws: Tensor, cameras: Tensor, images: int
) -> tuple[Tensor, Tensor]:
    """Return pictures of latents with what their rays saw, [N, 6, R, R], and how foggy they are.

    The latter is the mean variance of depth along a ray, a scalar.
    """
    side = neural_resolution(config, images)
    planes = generator.planes(ws, noise="random").float()
    draws = random_draws(len(ws), side * side, generator.rays, ws.device)
    views = generator.render(planes, ws, cameras, resolution=side, draws=draws)
    return _both(config, views.image, views.raw, images), views.spread.mean()


def real_pictures(config: TrainingConfig, reals: Tensor, images: int) -> Tensor:
    """Return pictures of the data with what rays would have seen of them, [N, 6, R, R]."""
    side = neural_resolution(config, images)
    raw = F.interpolate(reals, (side, side), mode="bilinear", antialias=True)
    return _both(config, reals, raw, images)


def _both(config: TrainingConfig, image: Tensor, raw: Tensor, images: int) -> Tensor:
    side = image.shape[-1]
    raw = F.interpolate(raw.float(), (side, side), mode="bilinear", antialias=True)
    return torch.cat([_blurred(config, image, images), raw], dim=1)


def _blurred(config: TrainingConfig, image: Tensor, images: int) -> Tensor:
    """Return pictures blurred as the beginning of a training wants it."""
    fade = max(1 - images / max(config.blur_kimg * 1000, 1), 0.0)
    sigma = config.blur_sigma * fade
    reach = math.floor(sigma * _BLUR_REACH)
    if reach < 1:
        return image
    taps = torch.arange(-reach, reach + 1, device=image.device).div(sigma).square().neg().exp2()
    taps = (taps / taps.sum())[None]
    image = upfirdn2d(image, taps, padding=(reach, reach, 0, 0))
    return upfirdn2d(image, taps.mT, padding=(0, 0, reach, reach))


def density_penalty(config: TrainingConfig, generator: TriPlaneGenerator, ws: Tensor) -> Tensor:
    """Return how much the density changes over short ways, a scalar (EG3D's density regulariser).

    The mean absolute difference between points spread over the box and their neighbours.

    Args:
        config: Resolved options: the standard deviation of the ways.
        generator: The network.
        ws: Latents, [N, num_ws, w_dim].
    """
    planes = generator.planes(ws, noise="random").float()
    points = torch.rand(len(ws), _DENSITY_POINTS, 3, device=ws.device) - 0.5
    points = points * generator.box_size
    near = points + torch.randn_like(points) * config.density_distance
    with torch.autocast(ws.device.type, enabled=False):  # rounded numbers differ by nothing
        densities = generator.density(planes, torch.cat([points, near], dim=1))
    there, beside = densities.chunk(2, dim=1)
    return (there - beside).abs().mean()
