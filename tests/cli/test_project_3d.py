import json
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import load_network
from ganedit.editing import synthesize
from ganedit.io import load_latent, read_image, write_image
from ganedit.io.camera_files import save_cameras
from ganedit.three_d.cameras import camera_angles
from ganedit.three_d.orbits import poses
from tests.conftest import SPHERE, make_triplane


@pytest.fixture
def options(triplane_path):
    return ("--network", triplane_path, "--loss", "pixel", "--steps", 4, "--device", "cpu")


@pytest.fixture
def views(tmp_path):
    """Two views of one volume, and the file of their cameras."""
    generator = make_triplane()
    cameras = poses([0.5, -0.3], [0.0, 0.1], **SPHERE)
    ws = generator.map(torch.ones(1, 16))
    paths = []
    for name, camera in zip(("right", "left"), cameras.split(1), strict=True):
        paths.append(tmp_path / f"{name}.png")
        write_image(paths[-1], generator.synthesize(ws, camera=camera).clamp(-1, 1))
    save_cameras(tmp_path / "cameras.json", cameras, views=[{}, {}], facts={})
    return [*paths, tmp_path / "cameras.json"]


def record():
    return json.loads(Path("out/run.json").read_text())


def degrees(latent):
    return [round(float(torch.rad2deg(angle)), 1) for angle in camera_angles(latent.cameras)]


def test_a_photo_is_projected_from_where_it_is_said_to_be_taken(run, options, views, triplane_path):
    result = run("project", views[0], *options, "--yaw", 28.5, "--pitch", -4)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("no encoder for this network") == 1
    latent = load_latent("out/right.pt")
    assert degrees(latent) == [28.5, -4.0]
    drawn = next(synthesize(load_network(triplane_path, device="cpu"), latent))
    assert (drawn.clamp(-1, 1) - read_image("out/right.png")).abs().max() < 0.02
    assert record()["camera"] == "--yaw and --pitch"
    (told,) = record()["results"]
    assert (told["yaw"], told["pitch"]) == (28.5, -4.0)
    same = run("compare", "out/right.pt", "out/right.png", "--json")
    assert json.loads(same.stdout)["mean"]["psnr"] > 40


def test_cameras_come_from_a_file_in_the_order_of_the_photos(run, options, views):
    assert run("project", *views[:2], *options, "--camera", views[2]).exit_code == 0
    assert degrees(load_latent("out/right.pt")) == [28.6, 0.0]
    assert degrees(load_latent("out/left.pt")) == [-17.2, 5.7]


def test_without_a_camera_the_front_is_taken_and_said_so(run, options, views):
    result = run("project", views[0], *options)
    assert "photos are taken for views of the front" in result.stderr
    assert degrees(load_latent("out/right.pt")) == [0.0, 0.0]
    result = run("project", views[0], *options, "--optimize-camera", "--steps", 20)
    assert "views of the front" not in result.stderr
    moved = record()["results"][0]
    assert moved["yaw_moved"] == pytest.approx(moved["yaw"], abs=0.02)
    assert moved["yaw"] != 0


@pytest.mark.parametrize("tuned", [False, True])
def test_photos_of_one_head_become_one_latent(run, options, views, triplane_path, tuned):
    more = ("--tune", "--tune-steps", 2) if tuned else ()
    result = run("project", *views[:2], *options, "--camera", views[2], "--one-head", *more)
    assert result.exit_code == 0, result.output
    written = {path.rsplit("/", 1)[-1] for path in result.stdout.splitlines()}
    expected = {"right.pt", "right-loss.png", "run.json"}
    for name in ("right", "left"):
        expected |= {f"{name}.png", f"{name}-target.png", f"{name}-comparison.png"}
    latent = load_latent("out/right.pt")
    assert written == expected | ({latent.tuning} if tuned else set())
    assert len(latent) == 1
    assert degrees(latent) == [28.6, 0.0]
    results = record()["results"]
    assert [one["yaw"] for one in results] == [28.65, -17.19]
    assert [one["tuning"] for one in results] == [latent.tuning] * 2


def test_the_camera_of_a_clay_head_is_read_off_it(run, triplane_path, options, tmp_path):
    from ganedit.checkpoints import save_network
    from ganedit.data.clayheads import render, sample_factors

    path = tmp_path / "clay-volume.safetensors"
    save_network(path, make_triplane(), provenance={"perceptual": "clay"})
    heads = render(sample_factors([2**30]))
    write_image(tmp_path / "head.png", heads.image)
    result = run("project", tmp_path / "head.png", *options[2:], "--network", path)
    assert result.exit_code == 0, result.output
    yaw, pitch = degrees(load_latent("out/head.pt"))
    true = [round(float(torch.rad2deg(angle)), 1) for angle in camera_angles(heads.camera)]
    assert abs(yaw - true[0]) < 6
    assert abs(pitch - true[1]) < 6
    assert record()["camera"] == "clay-features"


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("--yaw", "nan"), "less than or equal to 180", 2),
        (("--yaw", "181"), "less than or equal to 180", 2),
        (("--camera", "cameras.json", "--pitch", "3"), "leave out --pitch", 2),
        (("--one-head", "--face", "all", "--align", "clay"), "leave out --face all", 2),
        (("--one-head", "--tune", "--shared"), "leave out --shared", 2),
        (("--one-head", "--batch", "2"), "leave out --batch", 2),
        (
            ("--face", "all", "--align", "clay", "--camera", "three.json"),
            "which face each is of",
            1,
        ),
        (("--camera", "far.json"), "a camera is 8 from the world's origin", 1),
        (("--camera", "gone.json"), "gone.json", 1),
        (("--camera", "three.json"), "has 3 cameras for 1 photos", 1),
        (("--camera", "away.json"), "look away from the head", 1),
    ],
)
def test_bad_cameras_are_told_in_a_line(fails, options, views, arguments, message, code):
    away = torch.eye(4).flatten().tolist()
    away[11] = 2.7  # at the front, looking on
    label = [*away, 4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1]
    save_cameras("away.json", torch.tensor([label]), views=[{}], facts={})
    three = poses([0.0] * 3, [0.0] * 3, **SPHERE)
    far = poses([0.0], [0.0], **SPHERE | {"radius": 8})
    save_cameras("far.json", far, views=[{}], facts={})
    save_cameras("three.json", three, views=[{}] * 3, facts={})
    assert message in fails("project", views[0], *options, *arguments, code=code)


@pytest.mark.parametrize(
    "option", [("--yaw", 3), ("--optimize-camera",), ("--one-head",), ("--camera", "a.json")]
)
def test_a_flat_generator_takes_no_camera(fails, network_path, views, option):
    line = fails("project", views[0], "--network", network_path, "--loss", "pixel", *option)
    assert "draws flat pictures" in line
    assert option[0] in line
