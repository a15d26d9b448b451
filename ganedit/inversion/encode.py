"""Inversion in one pass of an encoder."""

import torch
from torch import Tensor

from ganedit.checkpoints import LoadedEncoder, Network
from ganedit.encoders import resized
from ganedit.errors import GaneditError


def check_encoder(network: Network, encoder: LoadedEncoder) -> None:
    """Check that an encoder reads photos and finds latents of this generator.

    Raises:
        GaneditError: It does not.
    """
    if encoder.in_channels != 3:
        age = " (SAM's fourth is the wanted age: 'encode' cannot set it yet)"
        raise GaneditError(
            f"{encoder.source}: its encoder reads pictures of {encoder.in_channels} channels,"
            f" photos have 3{age if encoder.family == 'SAM' else ''}"
        )
    if encoder.fingerprint != network.fingerprint:
        raise GaneditError(
            f"{encoder.source}: an encoder of another generator ({encoder.fingerprint[:19]}...)"
            f" than {network.source} ({network.fingerprint[:19]}...)"
        )


@torch.no_grad()
def encode(network: Network, encoder: LoadedEncoder, images: Tensor) -> Tensor:
    """Return the latents that an encoder finds for photos, [N, num_ws, w_dim].

    Args:
        network: The generator that the latents are for.
        encoder: Of that generator, on the same device.
        images: Square photos, [N, 3, H, H] in [-1, 1]; resized to what the encoder reads.

    Raises:
        GaneditError: The encoder does not fit the generator, or reads other pictures.
    """
    check_encoder(network, encoder)
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images: expected [N, 3, H, H], got {list(images.shape)}")
    images = resized(images.to(encoder.average.device), encoder.resolution)
    return encoder.average + encoder.encoder(images)
