"""What every generator family offers, and the vocabulary around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ganedit.runtime import seeded_normal

Noise = Literal["const", "random", "none"] | Sequence[Tensor]


@dataclass(frozen=True)
class StyleLayer:
    """One layer whose input channels a latent scales; together they span the StyleSpace.

    Attributes:
        name: Of the layer in the network: ``b64.conv1``.
        channels: Number of its styles.
        resolution: Of what it puts out, in pixels.
        layer: Index of the latent that it reads, below num_ws.
        kind: ``conv``; ``rgb`` when it makes the picture; ``input`` when it moves Fourier features.
    """

    name: str
    channels: int
    resolution: int
    layer: int
    kind: Literal["conv", "rgb", "input"]


class Generator(Protocol):
    """A network that maps a random vector to per-layer latents, and those to a picture.

    Attributes:
        z_dim: Length of the random vector.
        c_dim: Length of the label; 0 means unconditional.
        w_dim: Length of one layer's latent.
        num_ws: Number of per-layer latents.
        img_resolution: Height and width of the pictures.
        img_channels: Channels of the pictures.
        config: Constructor arguments, JSON-able.
    """

    z_dim: int
    c_dim: int
    w_dim: int
    num_ws: int
    img_resolution: int
    img_channels: int
    config: dict[str, Any]

    def map(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """Return per-layer latents, [N, num_ws, w_dim].

        Args:
            z: Standard normal vectors, [N, z_dim].
            c: Labels, [N, c_dim]; None for an unconditional generator.
            truncation_psi: 1 keeps the latent, 0 replaces it by the average.
            truncation_cutoff: Number of first layers to truncate; None truncates all.
        """
        ...

    def synthesize(
        self, ws: Tensor, *, noise: Noise = "const", offsets: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return images, float32 [N, 3, R, R], mostly in [-1, 1].

        Args:
            ws: Per-layer latents, [N, num_ws, w_dim].
            noise: ``const`` uses the stored maps, ``random`` draws new ones from torch's generator,
                ``none`` adds nothing; a sequence gives one map per noisy layer in network order,
                each [N or 1, 1, H, W] of ``noise_shapes``.
            offsets: Added to the styles, one [N or 1, channels] a layer of ``style_layers``.
        """
        ...

    def styles(self, ws: Tensor) -> tuple[Tensor, ...]:
        """Return the factors on the input channels of each layer (StyleSpace, Wu et al. 2021).

        Args:
            ws: Per-layer latents, [N, num_ws, w_dim].

        Returns:
            What the affine maps give, [N, channels] a layer of ``style_layers``.
        """
        ...

    def style_weights(self) -> tuple[Tensor, ...]:
        """Return the matrices of the affine maps from w to styles, times their gains.

        Returns:
            [channels, w_dim] a layer of ``style_layers``; ``styles`` moves by ``weight @ change``.
        """
        ...

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The layers that have styles, in network order."""
        ...

    @property
    def w_avg(self) -> Tensor:
        """Average latent, [w_dim]."""
        ...

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each noise map, in network order; empty without noise."""
        ...

    def noise_maps(self) -> tuple[Tensor, ...]:
        """Return the stored noise maps, each [1, 1, H, W]."""
        ...


def seeded_noise(
    noise_shapes: Sequence[tuple[int, int]],
    seeds: Sequence[int],
    *,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, ...]:
    """Draw noise maps, one independent random stream a seed, for ``synthesize(ws, noise=...)``.

    A seed's maps never depend on the other seeds of the batch, and the maps of a large network
    start with those of a smaller one.

    Args:
        noise_shapes: Height and width of each map, in network order.
        seeds: One non-negative integer a sample.
        device: Where the maps live.

    Returns:
        One float32 [len(seeds), 1, H, W] tensor a shape.
    """
    sizes = [height * width for height, width in noise_shapes]
    flat = seeded_normal(seeds, [sum(sizes)], device=device)
    return tuple(
        part.reshape(-1, 1, height, width)
        for part, (height, width) in zip(flat.split(sizes, dim=1), noise_shapes, strict=True)
    )


def check_offsets(offsets: Sequence[Tensor], layers: Sequence[StyleLayer], *, batch: int) -> None:
    """Check that offsets fit a generator's style layers.

    Args:
        offsets: One [N or 1, channels] a layer.
        layers: Of the generator.
        batch: N.

    Raises:
        ValueError: Their number or a shape is another.
    """
    if len(offsets) != len(layers):
        raise ValueError(f"offsets: expected {len(layers)}, got {len(offsets)}")
    for offset, layer in zip(offsets, layers, strict=True):
        if tuple(offset.shape) not in ((1, layer.channels), (batch, layer.channels)):
            raise ValueError(
                f"offsets: expected [{batch} or 1, {layer.channels}] for {layer.name}, got"
                f" {list(offset.shape)}"
            )
