"""GAN inversion and editing: the functions behind the ``ganedit`` command.

    import ganedit

    network = ganedit.load("clay")
    path = ganedit.interpolate([ganedit.sample(network, [3, 42])], frames=30)
    ganedit.write_video("path.mp4", ganedit.synthesize(network, path))

Heads of a tri-plane network are opened as volumes and rendered from around:

    network = ganedit.load("clay-3d")
    volume = ganedit.open_volume(network, ganedit.sample(network, [3]))
    cameras = network.generator.cameras_at([-0.5, 0.0, 0.5], [0.0, 0.0, 0.0])  # radians
    pictures = [view.image for view in ganedit.render_views(volume, cameras)]
    ganedit.write_mesh("head.glb", ganedit.volume_mesh(volume))

`render_views` draws a network's volume; `render` draws the clay world, whose heads have factors
and no network.

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
    from ganedit.editing.views import open_volume, render_views, volume_mesh
    from ganedit.errors import GaneditError
    from ganedit.features import load_clay_features, load_clip
    from ganedit.inversion import compose, encode, estimate_cameras, project, tune
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
    from ganedit.io.meshes import write_mesh
    from ganedit.losses import load_perceptual
    from ganedit.three_d.mesh_picture import draw_mesh

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
    "draw_mesh": ("ganedit.three_d.mesh_picture", "draw_mesh"),
    "encode": ("ganedit.inversion", "encode"),
    "estimate_cameras": ("ganedit.inversion", "estimate_cameras"),
    "image_grid": ("ganedit.io", "image_grid"),
    "interpolate": ("ganedit.editing", "interpolate"),
    "load": ("ganedit.checkpoints", "load_network"),
    "load_clay_features": ("ganedit.features", "load_clay_features"),
    "load_clip": ("ganedit.features", "load_clip"),
    "load_encoder": ("ganedit.checkpoints", "load_encoder"),
    "load_latent": ("ganedit.io", "load_latent"),
    "load_perceptual": ("ganedit.losses", "load_perceptual"),
    "mix": ("ganedit.editing", "mix"),
    "open_checkpoint": ("ganedit.checkpoints", "open_checkpoint"),
    "open_volume": ("ganedit.editing.views", "open_volume"),
    "optimize_edit": ("ganedit.editing.clip_edit", "optimize_edit"),
    "project": ("ganedit.inversion", "project"),
    "read_image": ("ganedit.io", "read_image"),
    "read_latent": ("ganedit.io", "read_latent"),
    "render": ("ganedit.data.clayheads", "render"),
    "render_views": ("ganedit.editing.views", "render_views"),
    "sample": ("ganedit.editing", "sample"),
    "sample_factors": ("ganedit.data.clayheads", "sample_factors"),
    "save_latent": ("ganedit.io", "save_latent"),
    "save_network": ("ganedit.checkpoints", "save_network"),
    "synthesize": ("ganedit.editing", "synthesize"),
    "to_square": ("ganedit.io", "to_square"),
    "tune": ("ganedit.inversion", "tune"),
    "volume_mesh": ("ganedit.editing.views", "volume_mesh"),
    "write_gif": ("ganedit.io", "write_gif"),
    "write_image": ("ganedit.io", "write_image"),
    "write_mesh": ("ganedit.io.meshes", "write_mesh"),
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
    "draw_mesh",
    "encode",
    "estimate_cameras",
    "image_grid",
    "interpolate",
    "load",
    "load_clay_features",
    "load_clip",
    "load_encoder",
    "load_latent",
    "load_perceptual",
    "mix",
    "open_checkpoint",
    "open_volume",
    "optimize_edit",
    "project",
    "read_image",
    "read_latent",
    "render",
    "render_views",
    "sample",
    "sample_factors",
    "save_latent",
    "save_network",
    "synthesize",
    "to_square",
    "tune",
    "volume_mesh",
    "write_gif",
    "write_image",
    "write_mesh",
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
