"""Views of a head from around: the planes of a latent once, then camera after camera."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganedit.checkpoints import Network
from ganedit.editing.synthesis import check_drawable, maps_and_offsets
from ganedit.errors import GaneditError
from ganedit.generators.triplane import TriPlaneGenerator, Views, volume_of
from ganedit.io.latents import Latent
from ganedit.io.meshes import Mesh
from ganedit.progress import OnStep
from ganedit.three_d.mesh import MAX_MEMORY as MESH_MEMORY
from ganedit.three_d.mesh import extract_mesh

OPAQUE = 0.5  # share of the light that a surface stops; below it, its depth says little


@dataclass(frozen=True, eq=False)
class Volume:
    """A latent's head in space.

    Attributes:
        generator: Which renders it.
        ws: float32 [1, num_ws, w_dim], on the generator's device.
        planes: [1, 3, C, H, W].
    """

    generator: TriPlaneGenerator
    ws: Tensor
    planes: Tensor


@torch.no_grad()
def open_volume(network: Network, latent: Latent) -> Volume:
    """Return the head of a latent.

    Args:
        network: The generator that the latent belongs to, a tri-plane one.
        latent: One row; its noise maps, else the generator's, and its offsets are used.

    Raises:
        GaneditError: The generator is 2-D or another one than the latent's, or its planes hold NaN.
    """
    if len(latent) != 1:
        raise ValueError(f"latent: expected one row, got {len(latent)}")
    generator = volume_of(network.generator, name=network.source, what="views are")
    check_drawable(network, latent)
    device = generator.w_avg.device
    ws = latent.ws.to(device)
    maps, offsets = maps_and_offsets(latent, "const", device)
    planes = generator.planes(ws, noise=maps, offsets=offsets)
    if not bool(planes.isfinite().all()):
        raise GaneditError(
            f"{network.source}: the latent goes beyond what the generator can draw; edit it less"
        )
    return Volume(generator, ws, planes)


def render_views(
    volume: Volume,
    cameras: Tensor,
    *,
    resolution: int | None = None,
    samples: tuple[int, int] | None = None,
    max_memory: int | None = None,
    on_step: OnStep | None = None,
) -> Iterator[Views]:
    """Yield what cameras see, one by one.

    Args:
        volume: Of `open_volume`.
        cameras: Labels, [F, 25].
        resolution: Rays along each side; None is the generator's own. A generator without
            super-resolution draws its pictures as large.
        samples: Of a ray in the first and the second pass; None is the generator's own.
        max_memory: Bytes that rendering may take beside the network, see
            `TriPlaneGenerator.render`.
        on_step: Progress, called after each view.

    Yields:
        Views of one picture, on the CPU. Depth is 0 where the volume stops less than half of the
        light: what is there is no surface.

    Raises:
        GaneditError: A view does not fit into ``max_memory``.
    """
    generator = volume.generator
    for done, camera in enumerate(cameras.split(1), start=1):
        with torch.no_grad():
            seen = generator.render(
                volume.planes,
                volume.ws,
                camera.to(volume.ws.device),
                resolution=resolution,
                samples=samples,
                max_memory=max_memory,
            )
        own = resolution is not None and generator.superresolution is None
        yield replace(
            seen,
            image=(seen.raw if own else seen.image).float().cpu(),
            raw=seen.raw.float().cpu(),
            depth=torch.where(seen.opacity >= OPAQUE, seen.depth, 0.0).float().cpu(),
            opacity=seen.opacity.float().cpu(),
            spread=seen.spread.float().cpu(),
        )
        if on_step:
            on_step(done, len(cameras), {})


def depth_limits(depths: Sequence[Tensor], generator: TriPlaneGenerator) -> tuple[float, float]:
    """Return the nearest and the farthest depth that views show, to draw them all alike.

    One in a hundred may be nearer, and one in a hundred farther. Where nothing is opaque, the
    limits are those of the box from the usual distance.

    Args:
        depths: Of the views, in world units; 0 where it is unknown.
        generator: Which rendered them.
    """
    known = torch.cat([depth[depth > 0] for depth in depths])
    if len(known) < 2:
        distance, reach = float(generator.config["camera_radius"]), generator.box_size / 2
        return distance - reach, distance + reach
    low, high = known[:: max(1, len(known) // 2**20)].quantile(known.new_tensor([0.01, 0.99]))
    return float(low), float(high)


@torch.no_grad()
def volume_mesh(
    volume: Volume,
    *,
    resolution: int = 256,
    level: float | None = None,
    behind: float | None = None,
    max_memory: int | None = None,
) -> Mesh:
    """Return the coloured surface of a head; see `extract_mesh`.

    Args:
        volume: Of `open_volume`.
        resolution: Points along the box's side.
        level: Density of the surface before softplus; None takes `find_level`.
        behind: Cut off all with a smaller z than this, in world units; None cuts the border only.
        max_memory: Bytes beside the mesh; None is `extract_mesh`'s own.

    Raises:
        GaneditError: There is no surface at this level, or nothing in front of ``behind``.
    """
    generator, planes = volume.generator, volume.planes

    def density(points: Tensor) -> Tensor:
        return generator.density(planes, points[None])[0]

    def colour(points: Tensor) -> Tensor:
        return generator.colours(planes, points[None])[1][0, :, :3]

    return extract_mesh(
        density,
        colour,
        box_size=generator.box_size,
        resolution=resolution,
        level=level,
        behind=behind,
        max_memory=MESH_MEMORY if max_memory is None else max_memory,
        device=volume.ws.device,
    )
