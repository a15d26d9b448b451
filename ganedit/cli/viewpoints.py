"""``--yaw`` and ``--pitch``: from where a tri-plane network's pictures are seen."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganedit.cli.options import finite
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network
    from ganedit.generators import TriPlaneGenerator


YawOption = Annotated[
    float | None,
    typer.Option(
        "--yaw",
        metavar="DEG",
        min=-180,
        max=180,
        callback=finite,
        help="For a tri-plane network: from where it is seen, in degrees from the front; positive"
        " is from the picture's right.",
    ),
]
PitchOption = Annotated[
    float | None,
    typer.Option(
        "--pitch",
        metavar="DEG",
        min=-90,
        max=90,
        callback=finite,
        help="From how far below, in degrees; negative is from above.",
    ),
]
OrbitOption = Annotated[
    float | None,
    typer.Option(
        "--orbit",
        metavar="DEG",
        min=0,
        max=180,
        callback=finite,
        help="For a tri-plane network: move the camera on the way, so many degrees to one side of"
        " --yaw, to the other, and back.",
    ),
]


def is_solid(model: "Network") -> bool:
    """Return whether a network draws what can be seen from around."""
    from ganedit.generators import TriPlaneGenerator

    return isinstance(model.generator, TriPlaneGenerator)


def check_solid(model: "Network", *, option: str) -> "TriPlaneGenerator":
    """Return the generator, if an option which moves the camera has something to move around.

    Raises:
        GaneditError: The network draws flat pictures.
    """
    from ganedit.generators import volume_of

    return volume_of(model.generator, name=model.source, what=f"{option} is")


def check_flat(model: "Network", *, why: str) -> None:
    """Check that a network draws flat pictures.

    Args:
        model: The network.
        why: Why a command does not take others, and what to do instead.

    Raises:
        GaneditError: It is a tri-plane network.
    """
    if is_solid(model):
        raise GaneditError(f"{model.source}: is a tri-plane network; {why}")


def viewpoint(model: "Network", yaw: float | None, pitch: float | None) -> "Tensor | None":
    """Return the camera that ``--yaw`` and ``--pitch`` ask for, [1, 25]; None if neither is given.

    Raises:
        GaneditError: The network draws flat pictures.
    """
    if yaw is None and pitch is None:
        return None
    generator = check_solid(model, option="--yaw" if yaw is not None else "--pitch")
    return generator.cameras_at([math.radians(yaw or 0)], [math.radians(pitch or 0)])


def orbit_cameras(
    model: "Network", frames: int, width: float, *, yaw: float | None, pitch: float | None
) -> "Tensor":
    """Return cameras that swing once to either side and back, [frames, 25].

    Args:
        model: The network.
        frames: How many; the first is in the middle, and the one after the last would be.
        width: How far to either side, in degrees.
        yaw: The middle, in degrees; None is the front.
        pitch: Of all, in degrees.

    Raises:
        GaneditError: The network draws flat pictures.
    """
    from ganedit.three_d.orbits import circle

    generator = check_solid(model, option="--orbit")
    middle, height, width = (math.radians(angle or 0) for angle in (yaw, pitch, width))
    limits = (middle - width, middle + width)
    return circle(frames, limits, (height, height), **generator.sphere)


def read_cameras(path: Path, generator: "TriPlaneGenerator") -> "Tensor":
    """Return the cameras in a file, [N, 25].

    Raises:
        GaneditError: There are none, they are of another convention, or too far away to see the
            generator's box.
    """
    from ganedit.io.camera_files import load_cameras
    from ganedit.three_d.conventions import check_convention

    found = load_cameras(path)
    try:
        check_convention(found.labels, kind=found.kind)
        generator.check_reach(found.labels)
    except ValueError as error:
        raise GaneditError(f"{path}: {error}") from error
    return found.labels
