"""Pivotal tuning (Roich et al. 2021): the generator moves to the photo where no latent reaches it.

The latents that an inversion found, the pivots, stay where they are, and the weights of the
synthesis network are trained until it draws the photos there. Directions found with the generator
as it was still work around the pivots, because the weights move so little.
"""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from ganedit.checkpoints import Network
from ganedit.checkpoints.tuning import Tuning, apply_tuning, pays, synthesis_weights
from ganedit.errors import GaneditError
from ganedit.generators.base import Generator, Noise
from ganedit.generators.triplane import TriPlaneGenerator
from ganedit.inversion.cameras import Poses
from ganedit.inversion.comparison import Comparison, read_mask
from ganedit.inversion.optimize import default_perceptual
from ganedit.io.latents import Latent, check_latent
from ganedit.losses.perceptual import PerceptualDistance, load_perceptual
from ganedit.losses.pixel import pixel_distance

_LEARNING_RATE = 3e-4
_LOW_RANK_LEARNING_RATE = 3e-3
_BATCH_PIXELS = 2**19
_FACTOR_SEED = 0
_LOCALITY_SEED = 0
_LOCALITY_TRUNCATION = 0.5
_LOCALITY_REACH = 30.0  # α of section 3.2, in the norm of all layers' latents together


@dataclass(frozen=True, eq=False)
class Tuned:
    """A generator that draws photos at their pivots, as what changed in it.

    Attributes:
        differences: Tuned minus original value of each synthesis weight, float32 on the CPU.
        images: What the tuned generator draws at the pivots, [N, 3, R, R].
        distance: Perceptual distance of ``images`` to the photos, [N].
        best_step: Updates after which that was reached; 0 when none was an improvement.
        history: Loss before each update, and after the last one, [updates + 1, N].
        seconds: Wall-clock time.
    """

    differences: dict[str, Tensor]
    images: Tensor
    distance: Tensor
    best_step: int
    history: Tensor
    seconds: float

    def applied(self, network: Network) -> Network:
        """Return the network that was tuned with its changes, as `apply_tuning` does from a file.

        Args:
            network: As `tune` got it.
        """
        exact = Tuning(
            path=Path("memory"),  # for the metadata: there is no file
            factors={key: (difference,) for key, difference in self.differences.items()},
            fingerprint=network.fingerprint,
            network=network.home,
            rank=None,
            error=0.0,
        )
        return apply_tuning(network, exact)


def tune(
    network: Network,
    latent: Latent,
    targets: Tensor,
    *,
    perceptual: PerceptualDistance | None = None,
    mask: Tensor | None = None,
    cameras: Tensor | None = None,
    steps: int = 350,
    learning_rate: float | None = None,
    pixel_weight: float = 1.0,
    rank: int | None = None,
    stop_distance: float | None = None,
    locality_weight: float = 0.0,
    locality_samples: int = 1,
    max_seconds: float | None = None,
    on_step: Callable[[int, int, Mapping[str, Tensor]], None] | None = None,
) -> Tuned:
    """Train a copy of a generator until it draws photos at their latents.

    Args:
        network: It is left as it is.
        latent: The pivots, one a photo, or one of which all photos are views; their noise maps are
            used, else the generator's own.
        targets: Photos, [N, 3, R, R] in [-1, 1], at the generator's resolution.
        perceptual: The distance to minimise; None is `default_perceptual` of the network.
        mask: What of the photos counts, [N or 1, 1, R, R] in [0, 1], as for `project`.
        cameras: From where the photos were taken, for a tri-plane generator, [N or 1, 25]; None is
            what the latent tells, else the front.
        steps: Updates at most.
        learning_rate: Adam's; None is the paper's 3e-4, or ten times that with a rank.
        pixel_weight: Weight of the mean squared pixel difference beside the distance.
        rank: Train each matrix or convolution only by a difference of this rank (as Hu et al. 2021
            do), where that is smaller than the weight, so that `save_tuning` with this rank loses
            nothing; None trains the whole weights.
        stop_distance: Stop once every picture is as close as this to its photo.
        locality_weight: Weight of the locality regulariser, which holds the pictures of latents
            around the pivots to the original generator's; the paper's is 0.1, 0 leaves it out.
        locality_samples: Such latents a step.
        max_seconds: Stop at the first step after this time; at least one update is made.
        on_step: Called after each update with ``loss`` and ``distance`` [N] and ``images``
            [N, 3, R, R], detached.

    Returns:
        The best step of all, by the mean loss of the photos.

    Raises:
        GaneditError: The latent is not the network's, the network is tuned already, it renders
            values that are not finite, or there are cameras, and it draws flat pictures.
    """
    _check(network, latent, targets, steps=steps, samples=locality_samples, rank=rank)
    started = time.monotonic()
    device = network.generator.w_avg.device
    if learning_rate is None:
        learning_rate = _LEARNING_RATE if rank is None else _LOW_RANK_LEARNING_RATE
    if perceptual is None:
        perceptual = load_perceptual(default_perceptual(network), device=device)
    generator, parameters = _trainable_copy(network.generator, rank)
    poses = Poses(generator, latent.cameras if cameras is None else cameras, photos=len(targets))
    with torch.no_grad():
        pivots = _gather_pivots(latent, targets, perceptual, mask, poses)
    locality = _Locality(network.generator, perceptual, latent.ws.to(device))
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    best = _Best()
    history: list[Tensor] = []
    for step in range(steps + 1):
        optimizer.zero_grad(set_to_none=True)
        images, distance, loss = _accumulate(pivots, pixel_weight)
        history.append(loss.cpu())
        best.record(step, images, distance, loss, parameters)
        if on_step is not None and step > 0:
            on_step(step, steps, {"loss": loss, "distance": distance, "images": images})
        late = max_seconds is not None and time.monotonic() - started >= max_seconds
        close = stop_distance is not None and bool((distance <= stop_distance).all())
        if step == steps or close or (late and step > 0) or not bool(loss.isfinite().all()):
            break
        if locality_weight > 0:
            (locality_weight * locality.loss(generator, locality_samples)).backward()
        optimizer.step()
    if best.images is None or best.distance is None:
        raise GaneditError("the network renders values that are not finite; it is damaged")
    with torch.no_grad():
        for parameter, value in zip(parameters, best.parameters, strict=True):
            parameter.copy_(value)
    return Tuned(
        differences=_differences(network.generator, generator),
        images=best.images,
        distance=best.distance,
        best_step=best.step,
        history=torch.stack(history),
        seconds=time.monotonic() - started,
    )


def _check(
    network: Network,
    latent: Latent,
    targets: Tensor,
    *,
    steps: int,
    samples: int,
    rank: int | None,
) -> None:
    generator = network.generator
    if "tuning" in network.metadata or latent.tuning is not None:
        raise GaneditError(
            "the latents belong to a generator that is tuned already; project the photos anew"
        )
    if latent.offsets is not None:
        raise GaneditError(
            "the latents were edited in style space, and pivots are what a projection finds; tune"
            " for the latents before that edit"
        )
    check_latent(
        latent,
        fingerprint=network.fingerprint,
        num_ws=generator.num_ws,
        w_dim=generator.w_dim,
        network=network.source,
        noise_shapes=generator.noise_shapes,
    )
    side = generator.img_resolution
    any_views = len(latent) == 1 and isinstance(generator, TriPlaneGenerator)
    views = len(targets) if any_views else len(latent)
    if tuple(targets.shape) != (views, 3, side, side) or not views:
        wanted = "views" if any_views else len(latent)
        raise ValueError(
            f"targets: expected [{wanted}, 3, {side}, {side}], got {list(targets.shape)}"
        )
    counts = {"steps": steps, "locality_samples": samples, "rank": 1 if rank is None else rank}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}: expected 1 or more, got {count}")


@dataclass(frozen=True, eq=False)
class _Pivots:
    """Some of the photos, as many as are computed at a time, and their pivots."""

    ws: Tensor
    noise: Noise
    poses: Poses
    comparison: Comparison


def _gather_pivots(
    latent: Latent,
    targets: Tensor,
    perceptual: PerceptualDistance,
    mask: Tensor | None,
    poses: Poses,
) -> list[_Pivots]:
    size = max(1, _BATCH_PIXELS // targets.shape[-1] ** 2)
    device = poses.generator.w_avg.device
    masks = None if mask is None else read_mask(mask, targets).to(device)
    gathered = []
    for start in range(0, len(targets), size):
        part = slice(start, start + size)
        rows = latent if len(latent) < len(targets) else latent.rows(start, start + size)
        photos = targets[part].to(device)
        noise: Noise = "const" if rows.noise is None else [m.to(device) for m in rows.noise]
        counts = None if masks is None else masks[part]
        comparison = Comparison(perceptual, photos, counts)
        gathered.append(_Pivots(rows.ws.to(device), noise, poses.rows(part), comparison))
    return gathered


class _LowRank(nn.Module):
    """A weight that is trained by a difference of low rank, zero at first."""

    def __init__(self, weight: Tensor, rank: int, stream: torch.Generator) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        right = torch.randn(rank, columns, generator=stream) / math.sqrt(rank)
        self.left = nn.Parameter(weight.new_zeros(rows, rank))
        self.right = nn.Parameter(right.to(weight))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its difference."""
        return weight + (self.left @ self.right).reshape(weight.shape)


def _trainable_copy(generator: Generator, rank: int | None) -> tuple[Generator, list[nn.Parameter]]:
    """Return a copy of the generator, and the parameters that are to be trained."""
    twin = copy.deepcopy(generator)
    assert isinstance(twin, nn.Module)  # synthesis_weights says so of the original
    twin.requires_grad_(False)
    stream = torch.Generator().manual_seed(_FACTOR_SEED)
    for key, weight in synthesis_weights(twin).items():
        if rank is None or not pays(weight.shape, rank):
            weight.requires_grad_(True)
            continue
        owner, _, name = key.rpartition(".")
        register_parametrization(twin.get_submodule(owner), name, _LowRank(weight, rank, stream))
    return twin, [parameter for parameter in twin.parameters() if parameter.requires_grad]


@torch.no_grad()
def _differences(original: Generator, tuned: Generator) -> dict[str, Tensor]:
    """Return what changed in each synthesis weight, float32 on the CPU."""
    assert isinstance(tuned, nn.Module)
    found = {}
    for key, weight in synthesis_weights(original).items():
        owner, _, name = key.rpartition(".")
        value: Tensor = getattr(tuned.get_submodule(owner), name)
        found[key] = (value - weight).float().cpu().contiguous()
    return found


def _accumulate(pivots: Sequence[_Pivots], pixel_weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """Add the gradients of the mean loss to the weights, a few photos at a time.

    Returns:
        Images [N, 3, R, R], distances [N] and losses [N], detached.
    """
    count = sum(len(some.comparison.targets) for some in pivots)
    parts = []
    for some in pivots:
        images = some.poses.draw(some.ws, noise=some.noise)
        distance = some.comparison.distance(images)
        loss = distance + pixel_weight * some.comparison.pixel_distance(images)
        (loss.sum() / count).backward()
        parts.append((images.detach(), distance.detach(), loss.detach()))
    images, distance, loss = (torch.cat(values) for values in zip(*parts, strict=True))
    return images, distance, loss


class _Best:
    """The best step so far."""

    def __init__(self) -> None:
        self.step = 0
        self.images: Tensor | None = None
        self.distance: Tensor | None = None
        self.parameters: list[Tensor] = []
        self._loss = math.inf

    def record(
        self,
        step: int,
        images: Tensor,
        distance: Tensor,
        loss: Tensor,
        parameters: Sequence[Tensor],
    ) -> None:
        """Keep this step if it is better than all before; one that is not finite never is."""
        mean = float(loss.mean())
        if not mean < self._loss:
            return
        self.step, self._loss, self.images, self.distance = step, mean, images, distance
        self.parameters = [parameter.detach().clone() for parameter in parameters]


class _Locality:
    """What holds the generator to itself around the pivots (section 3.2 of the paper)."""

    def __init__(self, original: Generator, perceptual: PerceptualDistance, ws: Tensor) -> None:
        self._original = original
        self._perceptual = perceptual
        self._pivots = ws
        self._next = 0
        self._stream = torch.Generator().manual_seed(_LOCALITY_SEED)

    def loss(self, generator: Generator, samples: int) -> Tensor:
        """Return how far the pictures of new latents near the pivots are from the original's.

        Each latent is on the way from a pivot, taken in turn, to a mapped random z, α from the
        pivot; the mapped z itself where that is closer.
        """
        device = self._pivots.device
        turns = [(self._next + i) % len(self._pivots) for i in range(samples)]
        self._next += samples
        pivots = self._pivots[turns]
        with torch.no_grad():
            way = self._map_random(samples, device) - pivots  # [samples, num_ws, w_dim]
            length = way.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, 1, 1)
            ws = pivots + way * (_LOCALITY_REACH / length).clamp(max=1)
            wanted = self._original.synthesize(ws, noise="const")
        images = generator.synthesize(ws, noise="const")
        return (self._perceptual(images, wanted) + pixel_distance(images, wanted)).mean()

    def _map_random(self, count: int, device: torch.device) -> Tensor:
        original = self._original
        z = torch.randn(count, original.z_dim, generator=self._stream).to(device)
        label = None
        if original.c_dim:
            classes = torch.randint(original.c_dim, (count,), generator=self._stream)
            label = torch.nn.functional.one_hot(classes, original.c_dim).float().to(device)
        return original.map(z, label, truncation_psi=_LOCALITY_TRUNCATION)
