"""Equality with EG3D's generator, at the tolerance that its case states.

The network is read from a pickle as EG3D's training writes it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from checkpoint_files import open_case
from conformance_cases import Case
from torch import Tensor

from ganedit.checkpoints.building import build_generator
from ganedit.generators import TriPlaneGenerator
from ganedit.three_d import Draws, camera_label, look_at_pose

Check = Callable[[Case, str, Tensor], None]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tolerances were measured with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draws_of(case: Case, tag: str) -> Draws:
    """Return the numbers that the original would have drawn."""
    jitter, places = case.inputs[f"jitter_{tag}"], case.inputs[f"importance_u_{tag}"]
    return Draws(
        jitter=jitter if jitter.ndim == 0 else jitter[..., 0],
        importance=places if places.ndim == 1 else places[None],
    )


@torch.no_grad()
def test_generator_equals_eg3ds(check: Check, tmp_path: Path) -> None:
    case = Case("eg3d_ffhq512")
    file = open_case(case, tmp_path)
    assert (file.contents.family, file.generator.architecture) == ("eg3d", "triplane")
    generator = build_generator(file.generator, file.path)
    assert isinstance(generator, TriPlaneGenerator)
    # What this case has is what a generator of ours has that is told nothing else.
    assert generator.config == TriPlaneGenerator(img_resolution=512).config | {"sr_conv_clamp": 256}
    wanted = case.state_dict("G_ema")
    assert all(torch.equal(value, wanted[key]) for key, value in generator.state_dict().items())

    psi, cutoff = case.settings["truncation_psi"], case.settings["truncation_cutoff"]
    z, told = case.inputs["z"], case.inputs["c_conditioning"]
    ws, camera = case.inputs["ws"], case.inputs["c"]
    torch.testing.assert_close(generator.default_camera.expand(2, -1), told, atol=1e-6, rtol=0)
    planes = generator.planes(ws)
    density, features = generator.colours(planes, case.inputs["points"])
    got = {
        "w": generator.map(z, camera=told)[:, 0],
        "ws_truncated_cutoff": generator.map(
            z, camera=told, truncation_psi=psi, truncation_cutoff=cutoff
        ),
        "planes": planes.flatten(1, 2),
        "points_sigma": density[..., None],
        "points_rgb": features,
    }
    enlarge = generator.superresolution
    for tag, settings in case.settings["renders"].items():
        generator.superresolution = enlarge if settings.get("sr", True) else None
        views = generator.render(
            planes,
            ws,
            camera,
            resolution=settings["neural_rendering_resolution"],
            draws=draws_of(case, tag),
        )
        got |= {f"image_raw_{tag}": views.raw, f"image_depth_{tag}": views.depth}
        if generator.superresolution is not None:
            got[f"image_{tag}"] = views.image
    assert set(got) == set(case.outputs)
    for output, value in got.items():
        check(case, output, value)
    # The middles of all intervals are what a generator of ours takes when it is told none.
    told = generator.render(planes, ws, camera, resolution=8, draws=draws_of(case, "midpoint64"))
    untold = generator.render(planes, ws, camera, resolution=8)
    torch.testing.assert_close(untold.raw, told.raw, rtol=0, atol=1e-6)


def test_the_cases_camera_is_a_look_at_pose() -> None:
    case = Case("eg3d_ffhq512")
    told = case.settings["camera"]
    pose = look_at_pose(
        torch.tensor([told["yaw"]]),
        torch.tensor([told["pitch"]]),
        radius=told["radius"],
        pivot=told["pivot"],
    )
    label = camera_label(pose, focal=told["intrinsics"][0])
    torch.testing.assert_close(label, case.inputs["c"], atol=1e-6, rtol=0)
