"""From where photos were taken, and pictures as photos from there show them."""

import copy

import torch
from torch import Tensor

from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.errors import GaneditError
from ganedit.features.clay import ClayFeatures
from ganedit.generators.base import Generator, Noise
from ganedit.generators.triplane import TriPlaneGenerator, volume_of
from ganedit.three_d.cameras import camera_angles, check_camera, look_at_pose


@torch.no_grad()
def estimate_cameras(
    features: ClayFeatures, photos: Tensor, generator: TriPlaneGenerator
) -> Tensor:
    """Return from where clay heads are seen, as their feature network reads it, [N, 25].

    Args:
        features: The network; it reads yaw and pitch.
        photos: [N, 3, H, W] in [-1, 1].
        generator: Whose usual distance, pivot and focal length the cameras get.
    """
    factors = features.predict(photos).factors
    yaw, pitch = (factors[:, FACTOR_INDEX[name]] for name in ("yaw", "pitch"))
    return generator.cameras_at(yaw, pitch)


def move_cameras(cameras: Tensor, moves: Tensor, generator: TriPlaneGenerator) -> Tensor:
    """Return cameras that went some way around a head, still seeing it as they did.

    Args:
        cameras: Labels, [N, 25].
        moves: Added to their yaw and pitch, radians as in `look_at_pose`, [N, 2].
        generator: Whose pivot they turn around.

    Returns:
        [N, 25]; differentiable in ``moves``.
    """
    pivot = generator.sphere["pivot"]
    pose = cameras[:, :16].reshape(-1, 4, 4)
    radius = pose[:, :3, 3].norm(dim=1)
    yaw, pitch = camera_angles(cameras)
    usual = look_at_pose(yaw, pitch, radius=radius, pivot=pivot)
    # What a camera has beside its angles, a roll or another pivot, it keeps.
    rest = torch.linalg.solve(usual, pose)
    moved = look_at_pose(yaw + moves[:, 0], pitch + moves[:, 1], radius=radius, pivot=pivot) @ rest
    return torch.cat([moved.flatten(1), cameras[:, 16:]], dim=1)


class Poses:
    """Draws latents as the photos of each are seen: from the front, or from cameras."""

    def __init__(self, generator: Generator, cameras: Tensor | None, *, photos: int) -> None:
        """Choose the cameras.

        Args:
            generator: Flat, or a tri-plane one.
            cameras: One a photo, or one for all, [N or 1, 25]; None is a tri-plane generator's
                front.
            photos: N.

        Raises:
            GaneditError: There are cameras, and the generator is flat.
            ValueError: They are none.
        """
        self.generator = generator
        self.cameras: Tensor | None = None
        if cameras is not None or isinstance(generator, TriPlaneGenerator):
            usual = volume_of(generator).default_camera
            given = usual[None] if cameras is None else cameras
            if given.ndim != 2 or len(given) not in (1, photos):
                raise ValueError(f"cameras: expected [{photos} or 1, 25], got {list(given.shape)}")
            check_camera(given)
            self.cameras = given.to(usual).expand(photos, -1)

    def draw(self, ws: Tensor, *, noise: Noise, moves: Tensor | None = None) -> Tensor:
        """Return pictures, [N, 3, R, R].

        Args:
            ws: One latent a photo, or one that all photos show, [N or 1, num_ws, w_dim].
            noise: As in `Generator.synthesize`.
            moves: See `move_cameras`; None moves none.
        """
        generator = self.generator
        if self.cameras is None:
            return generator.synthesize(ws, noise=noise)
        assert isinstance(generator, TriPlaneGenerator)
        cameras = self.cameras if moves is None else move_cameras(self.cameras, moves, generator)
        return generator.render(generator.planes(ws, noise=noise), ws, cameras).image

    def rows(self, photos: slice) -> "Poses":
        """Return the poses of some of the photos."""
        part = copy.copy(self)
        part.cameras = None if self.cameras is None else self.cameras[photos]
        return part

    def no_moves(self) -> Tensor:
        """Return moves of no camera, for `draw`, [N, 2].

        Raises:
            GaneditError: There are no cameras.
        """
        if self.cameras is None:
            raise GaneditError("this generator draws flat pictures; it has no camera to optimise")
        return self.cameras.new_zeros(len(self.cameras), 2)

    def groups(self) -> list[tuple[slice, Tensor | None]]:
        """Return the photos that share a camera, neighbours only, and that camera, [1, 25]."""
        if self.cameras is None:
            return [(slice(None), None)]
        if bool((self.cameras == self.cameras[:1]).all()):
            return [(slice(None), self.cameras[:1])]
        return [(slice(i, i + 1), self.cameras[i : i + 1]) for i in range(len(self.cameras))]
