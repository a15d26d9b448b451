"""From where photos were taken, as ``project`` is told or finds out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ganedit.cli import console
from ganedit.cli.viewpoints import check_solid, is_solid, read_cameras, viewpoint
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.features import ClayFeatures

OPTIONS = ("camera", "yaw", "pitch", "optimize_camera", "one_head")


@dataclass(frozen=True, eq=False)
class Posing:
    """From where photos were taken.

    Attributes:
        source: How that is known, for the record; None of a generator of flat pictures.
        model: To project into.
        given: Camera of each photo by its name, [1, 25] each.
        shared: Camera of all others, [1, 25]; None leaves them to ``reader``, else to the front.
        reader: Reads the camera off a clay head.
    """

    source: str | None
    model: "Network"
    given: "Mapping[str, Tensor]"
    shared: "Tensor | None" = None
    reader: "ClayFeatures | None" = None

    def find(self, names: Sequence[str], photos: "Tensor") -> "Tensor | None":
        """Return the cameras of photos, [N, 25]; None for the front, and for flat pictures.

        Args:
            names: Of their results.
            photos: [N, 3, R, R].
        """
        import torch

        from ganedit.generators import TriPlaneGenerator
        from ganedit.inversion import estimate_cameras

        if self.given:
            return torch.cat([self.given[name] for name in names])
        if self.shared is not None:
            return self.shared.expand(len(names), -1)
        generator = self.model.generator
        if self.reader is None or not isinstance(generator, TriPlaneGenerator):
            return None
        return estimate_cameras(self.reader, photos, generator)


def check_posing(arguments: "Mapping[str, Any]", *, folders: bool) -> None:
    """Check that options of the camera go together.

    Raises:
        typer.BadParameter: They do not (exit code 2).
    """
    angles = [name for name in ("yaw", "pitch") if arguments[name] is not None]
    if arguments["camera"] is not None and angles:
        raise typer.BadParameter(f"--camera says from where; leave out --{angles[0]}")
    if arguments["one_head"] and folders:
        raise typer.BadParameter("--one-head is for photos that are named, not for whole folders")
    if arguments["one_head"] and arguments["batch"]:
        raise typer.BadParameter("--one-head takes all photos at once; leave out --batch")
    if arguments["one_head"] and arguments["shared"]:
        raise typer.BadParameter("--one-head tunes one generator by itself; leave out --shared")
    if arguments["one_head"] and arguments["face"] == "all":
        raise typer.BadParameter("--one-head takes one face of each photo; leave out --face all")


def open_posing(model: "Network", arguments: "Mapping[str, Any]", photos: Sequence[str]) -> Posing:
    """Return how the cameras of photos are found.

    Args:
        model: To project into.
        arguments: Of the command: ``camera``, ``yaw`` and ``pitch`` in degrees,
            ``optimize_camera``, ``one_head``.
        photos: Names of their results, in the order that they were given.

    Raises:
        GaneditError: An option is for tri-plane networks, and this one draws flat pictures; or the
            camera file is missing, damaged, of another convention, or of other photos.
    """
    for name in OPTIONS:
        if arguments[name] not in (None, False):
            check_solid(model, option=f"--{name.replace('_', '-')}")
    if not is_solid(model):
        return Posing(None, model, {})
    if arguments["camera"] is not None:
        return _from_file(model, arguments, photos)
    given = viewpoint(model, arguments["yaw"], arguments["pitch"])
    if given is not None:
        return Posing("--yaw and --pitch", model, {}, shared=given)
    return _unknown(model, optimized=arguments["optimize_camera"])


def _from_file(model: "Network", arguments: "Mapping[str, Any]", photos: Sequence[str]) -> Posing:
    from ganedit.generators import volume_of
    from ganedit.io import file_digest

    path = Path(arguments["camera"])
    labels = read_cameras(path, volume_of(model.generator))
    source = f"cameras {path.name} sha256:{file_digest(path)}"
    if len(labels) == 1:
        return Posing(source, model, {}, shared=labels)
    if arguments["face"] == "all":
        raise GaneditError(
            f"{path}: has {len(labels)} cameras, and --face all does not say which face each is"
            " of; give one camera for all, or project face by face"
        )
    if len(labels) != len(photos):
        raise GaneditError(
            f"{path}: has {len(labels)} cameras for {len(photos)} photos; expected one of each, in"
            " their order, or one for all"
        )
    return Posing(source, model, dict(zip(photos, labels.split(1), strict=True)))


def _unknown(model: "Network", *, optimized: bool) -> Posing:
    from ganedit.features import load_clay_features
    from ganedit.inversion import default_perceptual

    if default_perceptual(model) == "clay":
        reader = load_clay_features(model.generator.w_avg.device)
        return Posing("clay-features", model, {}, reader=reader)
    if not optimized:
        console.note(
            "photos are taken for views of the front; if they are not, give --yaw and --pitch or"
            " --camera, or add --optimize-camera"
        )
    return Posing("front", model, {})


def ray_bytes(model: "Network") -> int:
    """Return about how many bytes the rays of one photo take in a step; 0 of flat pictures."""
    from ganedit.generators import TriPlaneGenerator

    generator = model.generator
    return generator.learning_bytes() if isinstance(generator, TriPlaneGenerator) else 0
