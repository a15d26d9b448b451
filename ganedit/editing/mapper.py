"""Edits by a latent mapper (Patashnik et al. 2021, section 5)."""

import torch

from ganedit.checkpoints import LoadedMapper, Network
from ganedit.editing.changes import Change
from ganedit.encoders import MAPPER_STRENGTH
from ganedit.errors import GaneditError
from ganedit.io.latents import Latent


@torch.no_grad()
def map_change(loaded: LoadedMapper, network: Network, latent: Latent) -> Change:
    """Return what a mapper adds to latents, each its own, [N, num_ws, w_dim].

    Args:
        loaded: The mapper.
        network: The generator that it is used with.
        latent: N latents of that generator.

    Raises:
        GaneditError: The mapper is for another generator, or what it returns is not finite.
    """
    generator = network.generator
    if loaded.num_ws != generator.num_ws:
        raise GaneditError(
            f"{loaded.source}: a mapper for {loaded.num_ws} latents; this generator takes"
            f" {generator.num_ws}; name the mapper's own by --network"
        )
    if loaded.w_dim != generator.w_dim:
        raise GaneditError(
            f"{loaded.source}: a mapper for latents of {loaded.w_dim} numbers; this generator's"
            f" have {generator.w_dim}; name the mapper's own by --network"
        )
    if loaded.fingerprint is not None and not network.accepts(loaded.fingerprint):
        raise GaneditError(
            f"{loaded.source}: a mapper of another generator than {network.source}; train one with"
            " 'ganedit train-mapper', or name its generator by --network"
        )
    device = next(loaded.mapper.parameters()).device
    change = MAPPER_STRENGTH * loaded.mapper(latent.ws.to(device))
    if not change.isfinite().all():
        raise GaneditError(
            f"{loaded.source}: changes these latents by NaN or infinite numbers; its weights are"
            " damaged, so train it again"
        )
    return Change(ws=change)
