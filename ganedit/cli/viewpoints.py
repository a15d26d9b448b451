"""``--yaw`` and ``--pitch``: from where a tri-plane network's pictures are seen."""

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganedit.cli.options import finite
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import Network


def _finite(value: float | None) -> float | None:
    return None if value is None else finite(value)


YawOption = Annotated[
    float | None,
    typer.Option(
        "--yaw",
        metavar="DEG",
        min=-180,
        max=180,
        callback=_finite,
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
        callback=_finite,
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
        callback=_finite,
        help="For a tri-plane network: move the camera on the way, so many degrees to one side of"
        " --yaw, to the other, and back.",
    ),
]


def is_solid(model: "Network") -> bool:
    """Return whether a network draws what can be seen from around."""
    from ganedit.generators import TriPlaneGenerator

    return isinstance(model.generator, TriPlaneGenerator)


def check_solid(model: "Network", *, option: str) -> None:
    """Check that an option which moves the camera has something to move around.

    Raises:
        GaneditError: The network draws flat pictures.
    """
    if not is_solid(model):
        raise GaneditError(
            f"{model.source}: draws flat pictures, which no camera goes around; {option} is for"
            " tri-plane networks, such as clay-3d"
        )


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
    from ganedit.three_d.orbits import poses

    if yaw is None and pitch is None:
        return None
    check_solid(model, option="--yaw" if yaw is not None else "--pitch")
    angles = ([math.radians(angle or 0)] for angle in (yaw, pitch))
    return poses(*angles, **usual_sphere(model))


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

    check_solid(model, option="--orbit")
    middle, height, width = (math.radians(angle or 0) for angle in (yaw, pitch, width))
    limits = (middle - width, middle + width)
    return circle(frames, limits, (height, height), **usual_sphere(model))


def usual_sphere(model: "Network") -> dict[str, Any]:
    """Return where a tri-plane network's cameras are, as `ganedit.three_d.orbits` takes it."""
    config = model.generator.config
    return {name: config[f"camera_{name}"] for name in ("radius", "pivot", "focal")}
