"""StyleCLIP's latent mapper (Patashnik et al. 2021, section 5): latents to a change of them.

One perceptron for each of three levels of layers, or one for all, finds what a prompt changes in a
latent. Parameter names are those of the official code, so the ``mapper.*`` part of its files loads
as it is.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganedit.generators.options import check_flags, check_whole
from ganedit.generators.stylegan2 import FullyConnected

MAPPER_STRENGTH = 0.1
"""What a mapper's output is multiplied by before it is added to the latents."""

LEVELS = ("coarse", "medium", "fine")
"""Groups of layers: 0 to 3, 4 to 7, and the rest."""

_FIRST = {"coarse": 0, "medium": 4, "fine": 8}  # layer of each level
_LAST = {"coarse": 4, "medium": 8, "fine": None}  # layer after it
# The official code spells it so.
_NAMES = {"coarse": "course_mapping", "medium": "medium_mapping", "fine": "fine_mapping"}
_DEPTH = 4
_LR_MULTIPLIER = 0.01
_TINY = 1e-8
_SMALLEST = {"num_ws": 1, "w_dim": 1}


class Perceptron(nn.Module):
    """Four linear layers with leaky ReLU, whose learning rates are a hundredth."""

    def __init__(self, w_dim: int) -> None:
        """Start from normal weights."""
        super().__init__()
        # The official code counts its normalisation as layer 0.
        self.mapping = nn.ModuleDict(
            {
                str(index + 1): FullyConnected(
                    w_dim, w_dim, activation="lrelu", lr_multiplier=_LR_MULTIPLIER
                )
                for index in range(_DEPTH)
            }
        )

    def forward(self, ws: Tensor, *, axis: int = 1) -> Tensor:
        """Return [N, L, w_dim] for the latents of some layers, [N, L, w_dim].

        Each number is divided by the root mean square over ``axis``: 1 is the layers, as in the
        official code, 2 the latent, as in the paper.
        """
        x = ws * (ws.square().mean(dim=axis, keepdim=True) + _TINY).rsqrt()
        x = x.flatten(0, 1)  # [N*L, w_dim]
        for layer in self.mapping.values():
            x = layer(x)
        return x.unflatten(0, ws.shape[:2])


class LevelsMapper(nn.Module):
    """A perceptron a level; levels without one stay as they are."""

    basis: Tensor | None
    centre: Tensor | None

    def __init__(
        self, *, num_ws: int, w_dim: int, levels: Sequence[str] = LEVELS, shaped: bool = False
    ) -> None:
        """Build an untrained mapper.

        Args:
            num_ws: Latents of the generator.
            w_dim: Length of a latent.
            levels: Those of `LEVELS` that change, at least one.
            shaped: Whether the perceptrons see latents relative to a ``centre``, each normalised by
                itself, and find coordinates in a ``basis`` of the changes; training sets both. The
                official mappers have neither, and normalise over layers, after which all samples
                of W look alike but for signs.
        """
        super().__init__()
        if not levels or any(level not in LEVELS for level in levels):
            raise ValueError(f"levels: expected some of {', '.join(LEVELS)}, got {list(levels)}")
        self.levels = tuple(level for level in LEVELS if level in levels)
        self.config: dict[str, Any] = {
            "num_ws": num_ws,
            "w_dim": w_dim,
            "levels": list(self.levels),
            "shaped": shaped,
        }
        check_whole(self.config, _SMALLEST)
        check_flags(self.config, "shaped")
        self.num_ws = num_ws
        self.w_dim = w_dim
        for level in self.levels:
            setattr(self, _NAMES[level], Perceptron(w_dim))
        self.register_buffer("basis", torch.eye(w_dim) if shaped else None)
        self.register_buffer("centre", torch.zeros(w_dim) if shaped else None)

    def forward(self, ws: Tensor) -> Tensor:
        """Return the change, to be multiplied by `MAPPER_STRENGTH`, [N, num_ws, w_dim].

        Args:
            ws: Latents, [N, num_ws, w_dim].
        """
        axis = 1 if self.centre is None else 2
        ws = ws if self.centre is None else ws - self.centre
        parts = []
        for level in LEVELS:
            part = ws[:, _FIRST[level] : _LAST[level]]
            if level in self.levels and part.shape[1]:
                parts.append(getattr(self, _NAMES[level])(part, axis=axis))
            else:
                parts.append(torch.zeros_like(part))
        found = torch.cat(parts, dim=1)
        return found if self.basis is None else found @ self.basis


class SingleMapper(nn.Module):
    """One perceptron for all layers."""

    basis: Tensor | None
    centre: Tensor | None

    def __init__(self, *, num_ws: int, w_dim: int, shaped: bool = False) -> None:
        """Build an untrained mapper.

        Args:
            num_ws: Latents of the generator.
            w_dim: Length of a latent.
            shaped: As in `LevelsMapper`.
        """
        super().__init__()
        self.config: dict[str, Any] = {"num_ws": num_ws, "w_dim": w_dim, "shaped": shaped}
        check_whole(self.config, _SMALLEST)
        check_flags(self.config, "shaped")
        self.num_ws = num_ws
        self.w_dim = w_dim
        self.mapping = Perceptron(w_dim)
        self.register_buffer("basis", torch.eye(w_dim) if shaped else None)
        self.register_buffer("centre", torch.zeros(w_dim) if shaped else None)

    def forward(self, ws: Tensor) -> Tensor:
        """Return the change, to be multiplied by `MAPPER_STRENGTH`, [N, num_ws, w_dim].

        Args:
            ws: Latents, [N, num_ws, w_dim].
        """
        axis = 1 if self.centre is None else 2
        found: Tensor = self.mapping(ws if self.centre is None else ws - self.centre, axis=axis)
        return found if self.basis is None else found @ self.basis
