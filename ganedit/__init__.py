"""GAN inversion and editing: the functions behind the ``ganedit`` command.

    import ganedit

    network = ganedit.load("clay")
    path = ganedit.interpolate([ganedit.sample(network, [3, 42])], frames=30)
    ganedit.write_video("path.mp4", ganedit.synthesize(network, path))

Everything here is imported on first use, so ``import ganedit`` itself is instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ganedit.version import __version__

if TYPE_CHECKING:
    from ganedit.checkpoints import (
        Network,
        convert,
        describe,
        load_encoder,
        open_checkpoint,
        save_network,
    )
    from ganedit.checkpoints import load_network as load
    from ganedit.data.clayheads import render, sample_factors
    from ganedit.editing import combine, interpolate, mix, sample, synthesize
    from ganedit.editing.changes import apply_change
    from ganedit.editing.clip_edit import optimize_edit
    from ganedit.errors import GaneditError
    from ganedit.features import load_clip
    from ganedit.inversion import compose, encode, project, tune
    from ganedit.io import (
        Latent,
        image_grid,
        load_latent,
        read_image,
        read_latent,
        save_latent,
        to_square,
        write_gif,
        write_image,
        write_video,
    )
    from ganedit.losses import load_perceptual

# Public name -> (module, name there).
_HOMES = {
    "GaneditError": ("ganedit.errors", "GaneditError"),
    "Latent": ("ganedit.io", "Latent"),
    "Network": ("ganedit.checkpoints", "Network"),
    "apply_change": ("ganedit.editing.changes", "apply_change"),
    "combine": ("ganedit.editing", "combine"),
    "compose": ("ganedit.inversion", "compose"),
    "convert": ("ganedit.checkpoints", "convert"),
    "describe": ("ganedit.checkpoints", "describe"),
    "encode": ("ganedit.inversion", "encode"),
    "image_grid": ("ganedit.io", "image_grid"),
    "interpolate": ("ganedit.editing", "interpolate"),
    "load": ("ganedit.checkpoints", "load_network"),
    "load_clip": ("ganedit.features", "load_clip"),
    "load_encoder": ("ganedit.checkpoints", "load_encoder"),
    "load_latent": ("ganedit.io", "load_latent"),
    "load_perceptual": ("ganedit.losses", "load_perceptual"),
    "mix": ("ganedit.editing", "mix"),
    "open_checkpoint": ("ganedit.checkpoints", "open_checkpoint"),
    "optimize_edit": ("ganedit.editing.clip_edit", "optimize_edit"),
    "project": ("ganedit.inversion", "project"),
    "read_image": ("ganedit.io", "read_image"),
    "read_latent": ("ganedit.io", "read_latent"),
    "render": ("ganedit.data.clayheads", "render"),
    "sample": ("ganedit.editing", "sample"),
    "sample_factors": ("ganedit.data.clayheads", "sample_factors"),
    "save_latent": ("ganedit.io", "save_latent"),
    "save_network": ("ganedit.checkpoints", "save_network"),
    "synthesize": ("ganedit.editing", "synthesize"),
    "to_square": ("ganedit.io", "to_square"),
    "tune": ("ganedit.inversion", "tune"),
    "write_gif": ("ganedit.io", "write_gif"),
    "write_image": ("ganedit.io", "write_image"),
    "write_video": ("ganedit.io", "write_video"),
}

__all__ = [
    "GaneditError",
    "Latent",
    "Network",
    "__version__",
    "apply_change",
    "combine",
    "compose",
    "convert",
    "describe",
    "encode",
    "image_grid",
    "interpolate",
    "load",
    "load_clip",
    "load_encoder",
    "load_latent",
    "load_perceptual",
    "mix",
    "open_checkpoint",
    "optimize_edit",
    "project",
    "read_image",
    "read_latent",
    "render",
    "sample",
    "sample_factors",
    "save_latent",
    "save_network",
    "synthesize",
    "to_square",
    "tune",
    "write_gif",
    "write_image",
    "write_video",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ganedit' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
