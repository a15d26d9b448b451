import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ganedit.errors import GaneditError
from ganedit.io.meshes import Mesh
from ganedit.three_d import camera_label, camera_rays, look_at_pose
from ganedit.three_d.mesh import MIN_MEMORY, extract_mesh
from ganedit.three_d.mesh_picture import draw_mesh
from ganedit.three_d.volume import RayOptions, render_rays
from tests.conftest import make_triplane

CENTRE = torch.tensor([0.0, 0.05, 0.1])
RADIUS = 0.2


def _ball(
    centre: Tensor = CENTRE, radius: float = RADIUS, *, slope: float = 100
) -> Callable[[Tensor], Tensor]:
    return lambda points: 10 + slope * (radius - (points - centre).norm(dim=1))


def _colour(points: Tensor) -> Tensor:
    """By the direction from the ball's middle, so that it is the same at all depths."""
    return torch.nn.functional.normalize(points - CENTRE, dim=1) / 2 + 0.5


def _volume(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    return float((torch.linalg.cross(a, b) * c).sum() / 6)


def test_a_ball_becomes_a_closed_ball_where_it_is_in_the_world() -> None:
    mesh = extract_mesh(_ball(), _colour, box_size=1, resolution=48)
    assert mesh.watertight
    distance = (mesh.vertices - CENTRE).norm(dim=1)
    torch.testing.assert_close(distance, torch.full_like(distance, RADIUS), atol=4e-4, rtol=0)
    assert _volume(mesh) == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.01)  # faces look out
    torch.testing.assert_close(mesh.colours, _colour(mesh.vertices), atol=0.03, rtol=0)
    larger = extract_mesh(_ball(), _colour, box_size=1, resolution=48, level=9.0)
    assert _volume(larger) == pytest.approx(4 / 3 * math.pi * (RADIUS + 0.01) ** 3, rel=0.01)


def test_memory_bounds_what_is_asked_at_once_and_changes_nothing() -> None:
    asked: list[int] = []

    def density(points: Tensor) -> Tensor:
        asked.append(len(points))
        turned = 25 * points
        # A gyroid: one surface, many times through every slab.
        return 10 * (turned.sin() * turned.roll(1, dims=1).cos()).sum(dim=1)

    settings = {"box_size": 1, "resolution": 100, "level": 0.5, "border": 0}
    little = extract_mesh(density, _colour, max_memory=MIN_MEMORY, **settings)
    assert max(asked) <= MIN_MEMORY / 2 / 2048
    much = extract_mesh(density, _colour, max_memory=2**33, **settings)
    assert max(asked) >= 100**3
    assert little.watertight
    assert little.faces.shape == much.faces.shape
    places = [mesh.vertices.mul(1e6).round().unique(dim=0) for mesh in (little, much)]
    assert len(places[0]) == len(places[1]) == len(little.vertices)
    assert _volume(little) == pytest.approx(_volume(much), abs=1e-6)


@pytest.mark.parametrize("on_the_level", [0, 0.02], ids=["none", "some"])
def test_noise_becomes_closed_surfaces_even_through_points_of_the_grid(
    on_the_level: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(20, 20, 20, generator=random)
    noise[torch.rand(20, 20, 20, generator=random) < on_the_level] = 0

    def density(points: Tensor) -> Tensor:
        x, y, z = ((points + 0.5) * 19).round().long().clamp(0, 19).unbind(1)
        return noise[x, y, z]

    monkeypatch.setattr("ganedit.three_d.mesh.MIN_MEMORY", 0)
    settings = {"box_size": 1, "resolution": 20, "level": 0.0, "border": 0}
    for layers in (1, 3, 20):
        mesh = extract_mesh(density, _colour, max_memory=4 * 32 * 400 * layers, **settings)
        assert mesh.watertight


def test_walls_at_the_border_are_cut_off_and_what_is_cut_is_closed_and_flat() -> None:
    def density(points: Tensor) -> Tensor:
        wall = 10 + 100 * (-0.42 - points[:, 2])  # behind z = -0.42
        block = 10 + 100 * (0.1 - points[:, :2].abs().amax(dim=1))  # from there to the front
        return torch.maximum(wall, block)

    mesh = extract_mesh(density, _colour, box_size=1, resolution=65, level=10.0)
    assert mesh.watertight
    step = 1 / 64
    low, high = mesh.vertices.amin(dim=0), mesh.vertices.amax(dim=0)
    inside = 0.5 - 7 * step + step / 2  # 7 points at each end are cut, the surface is between two
    expected = torch.tensor([0.1, 0.1, inside])
    torch.testing.assert_close(high, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(low, -expected, atol=1e-4, rtol=0)
    whole = extract_mesh(density, _colour, box_size=1, resolution=65, level=10.0, border=0)
    assert whole.watertight
    assert float(whole.vertices.amax()) == pytest.approx(0.5 + step / 2)
    front = extract_mesh(
        density, _colour, box_size=1, resolution=65, level=10.0, border=0, behind=0.0
    )
    assert front.watertight
    assert float(front.vertices[:, 2].amin()) == pytest.approx(-step / 2, abs=1e-5)


def test_only_the_largest_piece_stays() -> None:
    large, small = _ball(), _ball(torch.tensor([0.0, -0.3, 0.0]), 0.06)

    def density(points: Tensor) -> Tensor:
        return torch.maximum(large(points), small(points))

    largest = extract_mesh(density, _colour, box_size=1, resolution=48, level=10.0)
    assert torch.equal(
        largest.vertices,
        extract_mesh(large, _colour, box_size=1, resolution=48, level=10.0).vertices,
    )
    assert largest.watertight


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (lambda p: p[:, 0], r"no surface at density 10: the volume holds -0\.4\d+ to 0\.4\d+"),
        (lambda p: 20 + p[:, 0], r"no surface at density 10: the volume holds 19\.6 to 20\.4"),
        (lambda p: p[:, 0] * math.nan, "densities are not all finite"),
        (lambda p: torch.where(p[:, 0] > 0.3, math.inf, 0.0), "densities are not all finite"),
    ],
    ids=["empty", "full", "NaN", "infinite"],
)
def test_a_volume_without_a_surface_is_refused_in_one_line(
    density: Callable[[Tensor], Tensor], message: str
) -> None:
    with pytest.raises(GaneditError, match=message) as caught:
        extract_mesh(density, _colour, box_size=1, resolution=32, level=10.0)
    assert "\n" not in str(caught.value)


def test_colours_are_those_below_a_thin_surface() -> None:
    def colour(points: Tensor) -> Tensor:
        skin = (points - CENTRE).norm(dim=1, keepdim=True) > RADIUS - 0.01
        return torch.where(skin, torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]))

    red, green, blue = extract_mesh(_ball(), colour, box_size=1, resolution=32).colours.unbind(1)
    assert float(blue.max()) == 0
    # Light goes through 0.01 of density 9 to 10 but for a tenth, and ends in the green.
    assert float(red.mean()) < 0.25
    torch.testing.assert_close(red + green, torch.ones_like(red))


def test_colours_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(GaneditError, match="colours are not all finite"):
        extract_mesh(_ball(), lambda points: points * math.nan, box_size=1, resolution=32)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("box_size", 0),
        ("box_size", math.nan),
        ("resolution", 7),
        ("resolution", 1025),
        ("level", math.nan),
        ("border", 0.5),
        ("border", -0.1),
        ("max_memory", MIN_MEMORY - 1),
        ("behind", math.nan),
    ],
)
def test_settings_outside_their_range_are_refused(setting: str, value: float) -> None:
    settings = {"box_size": 1, "resolution": 16, setting: value}
    with pytest.raises(ValueError, match=f"^{setting}: expected"):
        extract_mesh(_ball(), _colour, **settings)


def test_cutting_everything_away_is_refused() -> None:
    with pytest.raises(GaneditError, match=r"z = 0\.41 leaves nothing .* from -0\.4 to 0\.4;"):
        extract_mesh(_ball(), _colour, box_size=1, resolution=21, behind=0.41)


def test_the_picture_of_a_ball_is_that_of_the_ball() -> None:
    camera = camera_label(look_at_pose(torch.tensor([0.4]), torch.tensor([0.2])))
    mesh = extract_mesh(_ball(), _colour, box_size=1, resolution=64)
    picture = draw_mesh(mesh, camera, 96)
    origins, directions = (ray[0] for ray in camera_rays(camera, 96))
    along = ((CENTRE - origins) * directions).sum(dim=1)
    inside = RADIUS**2 - (CENTRE - origins).square().sum(dim=1) + along**2
    hit = inside > 0
    true = along - inside.clamp(min=0).sqrt()
    depth = picture.depth.flatten()
    seen = depth.isfinite()
    assert (seen & hit).sum() / (seen | hit).sum() > 0.99
    assert float((depth - true)[seen & hit].abs().max()) < 1 / 63  # a step of the grid
    points = origins + true[:, None] * directions
    shown = picture.image[0].flatten(1).T / 2 + 0.5
    assert float((shown - _colour(points))[seen & hit].abs().mean()) < 0.01
    assert bool((picture.image[0].flatten(1).T[~seen] == 1).all())


def test_what_is_in_front_covers_what_is_behind_and_light_comes_from_the_camera() -> None:
    def ball(z: float, radius: float, grey: float) -> Mesh:
        made = extract_mesh(
            _ball(torch.tensor([0.0, 0.0, z]), radius), _colour, box_size=1, resolution=32
        )
        return Mesh(made.vertices, made.faces, torch.full_like(made.vertices, grey))

    near, far = ball(0.2, 0.1, 0.25), ball(-0.1, 0.2, 0.75)
    both = Mesh(
        torch.cat([near.vertices, far.vertices]),
        torch.cat([near.faces, far.faces + len(near.vertices)]),
        torch.cat([near.colours, far.colours]),
    )
    camera = camera_label(look_at_pose(torch.zeros(1), torch.zeros(1)))
    row = draw_mesh(both, camera, 33).image[0, 0, 16]  # through the middle
    assert row[16] == pytest.approx(-0.5)
    assert row[9] == pytest.approx(0.5)
    assert row[0] == 1
    lit = draw_mesh(far, camera, 33, lit=True).image[0, 0, 16]
    assert float(lit[16]) == pytest.approx(0.5, abs=0.05)
    assert lit[8] < lit[12] < lit[16]


def test_a_mesh_shows_what_rays_see_of_a_generators_volume() -> None:
    generator = make_triplane()  # untrained, so a ball is added to its density
    latent = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    planes = generator.planes(generator.map(latent))
    ball = _ball(slope=10**4)

    def decode(points: Tensor) -> tuple[Tensor, Tensor]:
        densities, features = generator.colours(planes, points)
        return densities + ball(points[0]), features

    mesh = extract_mesh(
        lambda points: generator.density(planes, points[None])[0] + ball(points),
        lambda points: generator.colours(planes, points[None])[1][0, :, :3],
        box_size=1,
        resolution=64,
    )
    camera = camera_label(look_at_pose(torch.tensor([-0.3]), torch.tensor([0.1])))
    picture = draw_mesh(mesh, camera, 32)
    rays = RayOptions(2.25, 3.3, coarse=64, fine=64, box_size=1)
    features, depth, opacity, _ = render_rays(decode, *camera_rays(camera, 32), rays)
    seen, hit = picture.depth.flatten().isfinite(), opacity[0] > 0.5
    assert (seen & hit).sum() / (seen | hit).sum() > 0.95
    both = seen & hit
    assert float((picture.depth.flatten() - depth[0])[both].abs().mean()) < 1 / 63
    shown = picture.image[0].flatten(1).T
    assert float((shown - (2 * features[0, :, :3] - 1))[both].abs().mean()) < 0.02
