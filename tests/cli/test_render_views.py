import json
import re
import weakref
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from ganedit.checkpoints import load_network
from ganedit.cli import view_results
from ganedit.cli.render_views import parse_range, parse_size
from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.editing import sample, views
from ganedit.features import load_clay_features
from ganedit.io import read_image, save_latent
from ganedit.io.camera_files import load_cameras
from ganedit.three_d import camera_angles

FEW = ["--views", "3", "--device", "cpu"]


@pytest.fixture
def render(run, triplane_path):
    def invoke(*arguments):
        own = {"--no-video", "--cameras"} & set(arguments)
        frames = [] if own else ["--frames", "4"]
        result = run("render-views", "--network", triplane_path, *FEW, *frames, *arguments)
        assert result.exit_code == 0, result.output
        return result

    return invoke


@pytest.fixture
def refused(fails, triplane_path):
    def invoke(*arguments, code=2):
        return fails("render-views", "--network", triplane_path, *arguments, code=code)

    return invoke


@pytest.fixture
def volume_latents(triplane_path, tmp_path):
    """Two latent files of the tri-plane network."""
    network = load_network(triplane_path, device="cpu")
    paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for path, seed in zip(paths, (5, 6), strict=True):
        save_latent(path, replace(sample(network, [seed], noise="random"), names=("photo",)))
    return paths


def degrees(path):
    yaw, pitch = (x.rad2deg().tolist() for x in camera_angles(load_cameras(path).labels))
    return [round(x, 3) for x in yaw], [round(x, 3) + 0.0 for x in pitch]


def video_shape(path):
    with av.open(path) as container:
        context = container.streams.video[0].codec_context
        frames = sum(1 for _ in container.decode(video=0))
        return context.name, context.pix_fmt, (context.width, context.height), frames


def test_a_sheet_a_video_and_cameras_are_written(render):
    result = render("--yaw-range", "30")
    names = ["views.png", "views/000.png", "views/001.png", "views/002.png", "views.mp4"]
    names += ["cameras.json", "transforms.json", "run.json"]
    assert result.stdout.split() == [f"out/{name}" for name in names]
    assert degrees("out/cameras.json") == ([-30, 0, 30], [0, 0, 0])
    assert degrees("out/transforms.json") == degrees("out/cameras.json")
    assert video_shape("out/views.mp4") == ("h264", "yuv420p", (512, 256), 4)
    frames = json.loads(Path("out/cameras.json").read_text())["video_frames"]
    assert [frame["yaw"] for frame in frames] == pytest.approx([0, 30, 0, -30], abs=1e-3)
    assert [frame["pitch"] for frame in frames] == pytest.approx([10, 0, -10, 0], abs=1e-3)
    sheet = read_image("out/views.png")
    assert sheet.shape[3] == 3 * 128
    picture = read_image("out/views/001.png").repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert torch.equal(sheet[..., -256:-128, 128:256], picture)  # above its depth
    record = json.loads(Path("out/run.json").read_text())
    assert record["results"][0]["name"] == "seed0000"
    assert record["results"][0]["files"] == names[:-1]


def test_depth_and_normals_are_files_that_the_cameras_name(render):
    render("--depth", "--normals", "--no-video", "--resolution", "12", "--seeds", "3")
    content = json.loads(Path("out/cameras.json").read_text())
    assert "video_frames" not in content
    assert content["depth"]["width"] == 12
    for view in content["views"]:
        array = np.load(Path("out") / view["depth_npy"])
        with Image.open(Path("out") / view["depth"]) as picture:
            levels = np.array(picture)
        assert array.shape == levels.shape == (12, 12)
        assert np.abs(levels * content["depth"]["png_scale"] - array).max() <= 0.5e-4 + 1e-6
        assert read_image(Path("out") / view["normals"]).shape == (1, 3, 12, 12)
    assert read_image("out/views.png").shape[2] > 3 * 128


def test_a_mesh_is_told_of(render):
    result = render("--mesh", "head.ply", "--mesh-level", "0", "--mesh-resolution", "16")
    (figures,) = json.loads(Path("out/run.json").read_text())["results"]
    mesh = figures["mesh"]
    assert mesh["file"] == "head.ply"
    assert mesh["watertight"] is True
    assert f"{mesh['vertices']} vertices, {mesh['faces']} faces, watertight" in result.stderr
    assert Path("out/head.ply").read_bytes().startswith(b"ply")


def test_several_heads_have_their_own_files(run, volume_latents):
    result = run("render-views", *volume_latents, "3", "--gif", "--frames", "4", *FEW)
    assert result.exit_code == 0, result.output
    for name in ("a", "b", "seed0003"):
        assert Path(f"out/{name}-views.png").is_file()
        assert Path(f"out/{name}-views.gif").is_file()
        assert load_cameras(f"out/{name}-cameras.json").labels.shape == (3, 25)
        frames = json.loads(Path(f"out/{name}-transforms.json").read_text())["frames"]
        assert frames[0]["file_path"] == f"{name}-views/000.png"
        assert Path(f"out/{name}-views/000.png").is_file()
    assert not list(Path("out").glob("*.mp4"))
    pictures = [read_image(f"out/{name}-views/001.png") for name in ("a", "b")]
    assert (pictures[0] - pictures[1]).abs().max() > 0.01


def test_cameras_of_a_file_are_rendered_again(render):
    render("--no-video", "--yaw-range", "-10:40", "--pitch-range", "5:5")
    assert degrees("out/cameras.json") == ([-10, 15, 40], [5, 5, 5])
    before = [read_image(f"out/views/{index:03d}.png") for index in range(3)]
    for name in ("cameras", "transforms"):
        render("--cameras", f"out/{name}.json", "--out", name)
        assert degrees(f"{name}/cameras.json") == degrees("out/cameras.json")
        for index, picture in enumerate(before):
            assert torch.equal(read_image(f"{name}/views/{index:03d}.png"), picture)
        assert video_shape(f"{name}/views.mp4")[3] == 3


def test_a_sweep_goes_from_side_to_side(render):
    render("--path", "sweep", "--yaw-range", "20:20", "--pitch-range", "-10:10")
    frames = json.loads(Path("out/cameras.json").read_text())["video_frames"]
    assert [frame["pitch"] for frame in frames] == pytest.approx([-10, 0, 10, 0], abs=1e-3)
    assert degrees("out/cameras.json") == ([20, 20, 20], [-10, 0, 10])


def test_a_view_is_the_same_whatever_is_asked_beside_it(render):
    render("--yaw-range", "20", "--views", "1", "--no-video", "--out", "one")
    render("--yaw-range", "30", "--views", "5", "--json", "--out", "five")
    assert torch.equal(read_image("one/views/000.png"), read_image("five/views/002.png"))


@pytest.mark.parametrize(
    ("text", "low", "high"), [("30", -30, 30), ("0", 0, 0), ("-10:40", -10, 40), ("5:5", 5, 5)]
)
def test_ranges_are_around_the_front_or_from_a_to_b(text, low, high):
    ends = np.rad2deg(parse_range(text, "yaw-range"))
    assert ends.tolist() == pytest.approx([low, high])


def test_sizes_are_of_1024():
    assert parse_size("2GB") == 2**31
    assert parse_size("1.5k") == 1536
    assert parse_size("512 MB") == 2**29
    assert parse_size("77") == 77


# Bad input


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--yaw-range", "nan", "try 30"),
        ("--yaw-range", "inf:inf", "try 30"),
        ("--yaw-range", "30:-30", "backwards"),
        ("--yaw-range", "-30", "backwards"),
        ("--yaw-range", "1:2:3", "try 30"),
        ("--yaw-range", "", "try 30"),
        ("--pitch-range", "91", "up to 90"),
        ("--views", "0", "views"),
        ("--frames", "0", "frames"),
        ("--resolution", "0", "resolution"),
        ("--samples", "2,2", "samples"),
        ("--samples", "48", "samples"),
        ("--max-memory", "much", "max-memory"),
        ("--max-memory", "0GB", "max-memory"),
        ("--mesh", "head.stl", "mesh"),
        ("--mesh", "folder/head.glb", "mesh"),
        ("--mesh-level", "nan", "finite"),
        ("--seeds", "", "try 0-7,42"),
    ],
)
def test_senseless_options_are_usage_errors(refused, option, value, told):
    assert told in refused(option, value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-video", "--frames", "9"],
        ["--no-video", "--path", "sweep"],
        ["--mesh-level", "3"],
        ["--mesh-behind", "0"],
        ["--cameras", "c.json", "--yaw-range", "3"],
        ["7", "--seeds", "3"],
    ],
)
def test_options_that_would_do_nothing_are_usage_errors(refused, arguments):
    assert arguments[-2] in refused(*arguments)


def test_a_flat_generator_is_told_how_to_become_one(fails, network_path, latent_paths):
    for source in (["--network", network_path], [latent_paths[0]]):
        line = fails("render-views", *source)
        assert "2-D generator" in line
        assert "ganedit train --family triplane --data DATA.zip --out runs/volume --resume" in line


def test_a_latent_of_another_generator_is_one_line(refused, latent_paths):
    assert "made with another generator" in refused(latent_paths[0], code=1)


def test_a_photo_is_told_how_to_become_a_latent(refused):
    line = refused(Path(__file__).parents[2] / "examples" / "photo.jpg", code=1)
    assert "project it first: ganedit project" in line


def test_two_heads_of_one_name_are_refused(refused, volume_latents):
    path = volume_latents[0]
    assert "another head is called a" in refused(path, path, code=1)


def test_cameras_of_another_convention_are_one_line(render, refused):
    render("--no-video")
    content = json.loads(Path("out/cameras.json").read_text())
    for view in content["views"]:
        for index in (1, 2, 5, 6, 9, 10):
            view["label"][index] *= -1
    Path("other.json").write_text(json.dumps(content))
    line = refused("--cameras", "other.json", code=1)
    assert "other.json: " in line
    assert "OpenGL" in line
    assert "no such file" in refused("--cameras", "none.json", code=1)


def test_a_volume_without_a_surface_is_one_line(refused):
    line = refused(*FEW, "--mesh", "head.glb", "--mesh-level", "1e6", "--no-video", code=1)
    assert "no surface" in line


def test_what_cannot_fit_into_memory_is_refused_with_what_can(refused, render):
    line = refused("--max-memory", "1KB", "--mesh", "head.glb", "--mesh-level", "0")
    assert "allow 64MB" in line
    line = refused("--max-memory", "1KB")
    assert "--max-memory, --resolution: " in line
    assert not Path("out").exists()
    least = re.search(r"allow at least (\S+)", line)[1]
    render("--max-memory", least, "--no-video")


def test_a_view_is_written_and_let_go_before_the_one_after_the_next(render, monkeypatch):
    original, seen = views.render_views, []

    def watch(*arguments, **settings):
        for view in original(*arguments, **settings):
            assert sum(one() is not None for one in seen) <= 1
            seen.append(weakref.ref(view))
            yield view

    monkeypatch.setattr(views, "render_views", watch)
    render("--views", "5", "--normals", "--no-video")
    assert len(seen) == 5


def test_a_sheet_of_many_pixels_is_reduced(render, monkeypatch):
    settings = ["--normals", "--depth", "--no-video", "--resolution", "12"]
    monkeypatch.setattr(view_results, "_LEAST_CELL", 4)
    monkeypatch.setattr(view_results, "_SHEET_PIXELS", 3 * 3 * 8 * 8)
    render(*settings, "--out", "small")
    sheet = read_image("small/views.png")[:, :, -3 * 128 :]  # cells of 8 pixels, enlarged
    assert torch.equal(sheet[..., ::16], sheet[..., 15::16])
    content = json.loads(Path("small/cameras.json").read_text())
    assert (content["picture"]["width"], content["depth"]["width"]) == (16, 12)
    assert read_image("small/views/000.png").shape[3] == 16
    assert np.load("small/views/000-depth.npy").shape == (12, 12)


def test_the_command_as_typed(run):
    result = run("render-views", "--yaw-range", "30", "--frames", "2")  # of 60
    assert result.exit_code == 0, result.output
    assert degrees("out/cameras.json")[0] == [-30, -20, -10, 0, 10, 20, 30]
    assert video_shape("out/views.mp4") == ("h264", "yuv420p", (512, 256), 2)
    left, front, right = (read_image(f"out/views/00{index}.png") for index in (0, 3, 6))
    assert front.shape == (1, 3, 64, 64)
    factors = load_clay_features().predict(torch.cat([left, front, right])).factors
    yaws = factors[:, FACTOR_INDEX["yaw"]].rad2deg()
    assert yaws[0] < -10 < yaws[1] < 10 < yaws[2]


def test_a_mesh_is_cut_behind_a_plane(render):
    mesh = ["--mesh", "head.ply", "--mesh-level", "0", "--mesh-resolution", "16", "--no-video"]
    for out, more in (("whole", []), ("front", ["--mesh-behind", "0"])):
        render(*mesh, *more, "--out", out)
    least = [
        float(trimesh.load(f"{out}/head.ply").vertices[:, 2].min()) for out in ("whole", "front")
    ]
    assert least[0] < -0.1 < least[1] < 0.1
