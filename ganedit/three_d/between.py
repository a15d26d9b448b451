"""Between two cameras."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.ops import lerp, slerp

_LEAST_AHEAD = 0.5  # of a camera's distance: how far before it is what it looks at, at least


def between_cameras(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Return cameras on the way from one to another, labels [N, 25].

    They move on an arc around the world's origin (of two that are opposite, on the line), and look
    at what is between the points that both look at: those on their axes beside the origin.

    Args:
        start: Labels, [N, 25].
        end: Labels, [N, 25].
        t: 0 is the start, 1 the end, [N].
    """
    t = t.to(start)[:, None]
    first, last = (label[:, :16].reshape(-1, 4, 4) for label in (start, end))
    place = slerp(first[:, :3, 3], last[:, :3, 3], t)
    forward = F.normalize(lerp(_aim(first), _aim(last), t) - place, dim=1)
    down = lerp(first[:, :3, 1], last[:, :3, 1], t)
    right = F.normalize(torch.linalg.cross(down, forward), dim=1)
    pose = first.clone()
    axes = [right, torch.linalg.cross(forward, right), forward, place]
    pose[:, :3] = torch.stack(axes, dim=2)
    return torch.cat([pose.flatten(1), lerp(start[:, 16:], end[:, 16:], t)], dim=1)


def _aim(pose: Tensor) -> Tensor:
    """Return the point on a camera's axis that is beside the origin, [N, 3].

    Of a camera that looks past the origin, that would be behind it; it is a point before it.
    """
    place, forward = pose[:, :3, 3], pose[:, :3, 2]
    ahead = -(place * forward).sum(dim=1, keepdim=True)
    return place + ahead.maximum(_LEAST_AHEAD * place.norm(dim=1, keepdim=True)) * forward
