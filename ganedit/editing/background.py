"""What stands before a plain background, cut out."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_NEAR = 0.25  # distance of colours, in [-1, 1], up to which a pixel is background
_FITS = 4
_OUTLIER = 0.15  # distance of a border pixel that is not of the background


@torch.no_grad()
def cut_out(images: Tensor, *, near: float = _NEAR) -> tuple[Tensor, Tensor]:
    """Return what stands before the background, and how opaque each pixel of it is.

    The background is a colour that changes slowly, fitted to the upper and side borders. Pixels
    like it that hang together with these borders belong to it; others, such as the whites of eyes,
    do not. What hangs together with nothing in the middle of the picture belongs to it, too. Pixels
    at the edge are mixtures of the background and what lies beside them, in shares that their
    colours tell.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        near: Distance of colours up to which a pixel is background.

    Returns:
        Colours without the background, [N, 3, H, W] in [-1, 1], and opacity, [N, 1, H, W] in
        [0, 1].
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected [N, 3, H, W], got {list(images.shape)}")
    images = images.float()
    backdrop = _fit_backdrop(images)
    distance = (images - backdrop).norm(dim=1, keepdim=True)  # [N, 1, H, W]
    like = distance < near
    background = _flood(like, _borders(like))
    background = ~_flood(~background, _middle(like))
    beside = F.max_pool2d(background.float(), 3, 1, 1) > 0
    inner = (~beside).float()
    count = F.avg_pool2d(inner, 3, 1, 1)
    colours = F.avg_pool2d(images * inner, 3, 1, 1) / count.clamp(min=1e-6)
    way = colours - backdrop
    share = ((images - backdrop) * way).sum(1, keepdim=True)
    share = (share / way.square().sum(1, keepdim=True).clamp(min=1e-6)).clamp(0, 1)
    mixed = beside & ~background & (count > 0)
    # Thin parts have no inside to compare with; faint ones are specks.
    solid = ~background & (~beside | (distance > 2 * near))
    opacity = torch.where(mixed, share, solid.float())
    return torch.where(mixed, colours, images).clamp(-1, 1), opacity


def _fit_backdrop(images: Tensor) -> Tensor:
    """Return the background continued behind everything, [N, 3, H, W].

    A quadratic of the place, by least squares that forget what fits badly.
    """
    height, width = images.shape[2:]
    y = torch.linspace(-1, 1, height, device=images.device)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width, device=images.device)[None].expand(height, width)
    terms = torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y], dim=-1)  # [H, W, 6]
    border = torch.zeros(height, width, dtype=torch.bool, device=images.device)
    border[: max(1, height // 32)] = True
    border[: height * 3 // 4, : max(1, width // 32)] = True
    border[: height * 3 // 4, -max(1, width // 32) :] = True
    known = terms[border]  # [P, 6]
    wanted = images[:, :, border].mT  # [N, P, 3]
    weights = torch.ones_like(wanted[..., :1])  # [N, P, 1]
    # The middle of all to start with: a hat at the border is in the minority.
    fitted = wanted.median(dim=1, keepdim=True).values.expand_as(wanted)
    ridge = 1e-4 * len(known) * torch.eye(known.shape[1], device=images.device)
    for _ in range(_FITS):
        error = (wanted - fitted).norm(dim=2, keepdim=True)
        weights = 1 / (1 + (error / _OUTLIER) ** 4)
        left = (known * weights).mT @ known + ridge  # [N, 6, 6]
        factors = torch.linalg.solve(left, (known * weights).mT @ wanted)  # [N, 6, 3]
        fitted = known @ factors
    return (terms.reshape(-1, terms.shape[2]) @ factors).mT.reshape(images.shape)


def _borders(like: Tensor) -> Tensor:
    """Return where the background begins, bool [1, 1, H, W]: at all borders but the lower one.

    What is cut off there, such as a neck, is no background.
    """
    places = torch.zeros_like(like[:1], dtype=torch.bool)
    places[:, :, 0] = places[..., 0] = places[..., -1] = True
    return places


def _middle(like: Tensor) -> Tensor:
    """Return where the foreground is, bool [1, 1, H, W]: in the middle half of the picture."""
    places = torch.zeros_like(like[:1], dtype=torch.bool)
    height, width = like.shape[2:]
    places[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return places


def _flood(mask: Tensor, start: Tensor) -> Tensor:
    """Return the pixels of a mask, bool [N, 1, H, W], that hang together with those of a start.

    Args:
        mask: Where they may be.
        start: Bool [1, 1, H, W], the same for all pictures.
    """
    from scipy.ndimage import label

    begun = start[0, 0].cpu().numpy()
    reached = []
    for inside in mask[:, 0].cpu().numpy():
        # Along rows and columns, never across a corner, where thin outlines would leak.
        pieces, count = label(inside)
        kept = np.zeros(count + 1, dtype=bool)
        kept[pieces[begun]] = True
        reached.append(torch.from_numpy(kept[pieces] & inside))
    return torch.stack(reached)[:, None].to(mask.device)
