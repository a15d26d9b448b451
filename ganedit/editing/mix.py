"""Style mixing: some layers of one latent, the rest of another (Karras et al. 2019, §3.1)."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from ganedit.checkpoints import Network
from ganedit.editing.rows import fill_missing, key_latents
from ganedit.errors import GaneditError
from ganedit.io.latents import Latent


def mix(
    rows: Latent, columns: Latent, *, layers: Sequence[int], network: Network | None = None
) -> Latent:
    """Return every row latent with the styles of every column latent in some layers.

    Coarse layers (the first) carry pose and shape, fine layers (the last) colours. Noise maps, the
    place in a photo and the camera are those of the row, when the row has them.

    Args:
        rows: R latents that keep their other layers.
        columns: C latents that give ``layers``; of the same generator.
        layers: Indices into num_ws.
        network: The generator, which knows the style layers that read those latents; needed only
            when latents carry style offsets.

    Returns:
        R · C latents in w+, row by row.

    Raises:
        GaneditError: The latents do not belong together, a layer does not exist, or the
            generator is needed and None.
    """
    key_latents([rows, columns])  # checks that they belong together
    num_ws, w_dim = rows.ws.shape[1:]
    wrong = [layer for layer in layers if not 0 <= layer < num_ws]
    if wrong or not layers:
        got = f"layer {wrong[0]}" if wrong else "none"
        raise GaneditError(f"layers: got {got}, but the latents have layers 0-{num_ws - 1}")
    mixed = rows.ws.unsqueeze(1).repeat(1, len(columns), 1, 1)  # [R, C, num_ws, w_dim]
    chosen = sorted(set(layers))
    mixed[:, :, chosen] = columns.ws[:, chosen]
    noise = None
    if rows.noise is not None:
        noise = tuple(
            m if len(m) == 1 else m.repeat_interleave(len(columns), 0) for m in rows.noise
        )
    names = tuple(
        f"{row}+{column}" for row in _names(rows, "row") for column in _names(columns, "column")
    )
    return Latent(
        ws=mixed.reshape(-1, num_ws, w_dim),
        space="w+",
        fingerprint=rows.fingerprint,
        network=rows.network,
        noise=noise,
        offsets=_mixed_offsets(rows, columns, chosen, network),
        names=names,
        tuning=rows.tuning,
        alignment=tuple(place for place in rows.alignment for _ in range(len(columns))),
        cameras=None if rows.cameras is None else rows.cameras.repeat_interleave(len(columns), 0),
    )


def _mixed_offsets(
    rows: Latent, columns: Latent, layers: Sequence[int], network: Network | None
) -> tuple[Tensor, ...] | None:
    """Return the columns' offsets where style layers read ``layers``, else the rows'."""
    if rows.offsets is None and columns.offsets is None:
        return None
    if network is None:
        raise GaneditError(
            "the latents carry style offsets; give network=..., whose layers they move"
        )
    bare = [replace(latent, noise=None, cameras=None) for latent in (rows, columns)]
    rows, columns = fill_missing(bare, None)
    mixed = []
    for told, row, column in zip(
        network.generator.style_layers, rows.offsets or (), columns.offsets or (), strict=True
    ):
        wide = row.expand(len(rows), -1).repeat_interleave(len(columns), 0)
        given = column.expand(len(columns), -1).repeat(len(rows), 1)
        mixed.append(given if told.layer in layers else wide)
    return tuple(mixed)


def _names(latent: Latent, kind: str) -> tuple[str, ...]:
    return latent.names or tuple(f"{kind}{index}" for index in range(len(latent)))
