"""Edits as changes of latents, so that every method can be weakened, reversed and animated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganedit.io.latents import Latent


@dataclass(frozen=True, eq=False)
class Change:
    """What an edit of strength 1 adds to latents.

    Attributes:
        ws: Added to the per-layer latents, [N or 1, num_ws, w_dim]; None leaves them.
        offsets: Added to the styles (`Generator.style_layers`), one [N or 1, channels] a layer;
            None leaves them.
    """

    ws: Tensor | None = None
    offsets: tuple[Tensor, ...] | None = None


def apply_change(latent: Latent, change: Change, strength: float = 1.0) -> Latent:
    """Return edited latents; strength 0 returns them as they are.

    Args:
        latent: N latents.
        change: Of N rows, or one for all.
        strength: Factor on the change; negative ones do the opposite.
    """
    if strength == 0:
        return latent
    ws, space = latent.ws, latent.space
    if change.ws is not None:
        ws, space = ws + strength * change.ws.to(ws), "w+"
    offsets = latent.offsets
    if change.offsets is not None:
        added = [strength * row.detach().float().cpu() for row in change.offsets]
        offsets = tuple(added if offsets is None else _sums(offsets, added))
    return replace(latent, ws=ws, space=space, offsets=offsets)


def _sums(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[Tensor]:
    return [torch.add(a, b) for a, b in zip(first, second, strict=True)]
