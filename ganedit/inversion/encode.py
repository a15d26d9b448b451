"""Inversion in one pass of an encoder."""

import torch
from torch import Tensor

from ganedit.checkpoints import LoadedEncoder, Network
from ganedit.encoders import OLDEST, AgeEncoder, resized
from ganedit.errors import GaneditError


def check_encoder(network: Network, encoder: LoadedEncoder) -> None:
    """Check that an encoder reads photos and finds latents of this generator.

    Raises:
        GaneditError: It does not.
    """
    if encoder.in_channels != 3:
        raise GaneditError(
            f"{encoder.source}: its encoder reads pictures of {encoder.in_channels} channels,"
            " photos have 3"
        )
    if not network.accepts(encoder.fingerprint):
        raise GaneditError(
            f"{encoder.source}: an encoder of another generator ({encoder.fingerprint[:19]}...)"
            f" than {network.source} ({network.fingerprint[:19]}...)"
        )


def check_age(encoder: LoadedEncoder, age: float | None) -> None:
    """Check that an age is given where an encoder asks for it (SAM's does), and only there.

    Args:
        encoder: Any.
        age: In years, 0 to 100; None for none.

    Raises:
        GaneditError: It is missing, or not wanted.
    """
    asked = isinstance(encoder.encoder, AgeEncoder)
    if asked and age is None:
        raise GaneditError(
            f"{encoder.source}: SAM's encoder asks for an age; give one with --age, 0 to {OLDEST}"
        )
    if age is not None and not asked:
        raise GaneditError(
            f"{encoder.source}: its encoder ({encoder.architecture}) takes no age, only SAM's"
            " does; leave out --age"
        )


@torch.no_grad()
def encode(
    network: Network, encoder: LoadedEncoder, images: Tensor, *, age: float | None = None
) -> Tensor:
    """Return the latents that an encoder finds for photos, [N, num_ws, w_dim].

    Args:
        network: The generator that the latents are for.
        encoder: Of that generator, on the same device.
        images: Square photos, [N, 3, H, H] in [-1, 1]; resized to what the encoder reads.
        age: That SAM's encoder is to give the people, in years, 0 to 100. None leaves them as they
            are: only the encoder that SAM's starts from is asked.

    Raises:
        GaneditError: The encoder does not fit the generator, reads other pictures, takes no age,
            or needs one.
    """
    check_encoder(network, encoder)
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images: expected [N, 3, H, H], got {list(images.shape)}")
    images = resized(images.to(encoder.average.device), encoder.resolution)
    reader = encoder.encoder
    if age is None and isinstance(reader, AgeEncoder) and reader.pretrained_encoder is not None:
        return encoder.average + reader.pretrained_encoder(images)
    check_age(encoder, age)
    return encoder.average + (reader(images) if age is None else reader(images, age=age))
