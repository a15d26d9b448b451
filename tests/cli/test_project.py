import inspect
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import ganedit.inversion
from ganedit.checkpoints import save_network
from ganedit.cli.project import project as command
from ganedit.data.clayheads import render, sample_factors
from ganedit.features import VGG16
from ganedit.features.vgg import LPIPS_LAYERS
from ganedit.generators import StyleGAN2Generator
from ganedit.io import Latent, load_latent, read_image, save_latent, to_square, write_image
from ganedit.losses import PerceptualDistance
from tests.conftest import make_generator


@pytest.fixture(scope="session")
def vgg_path(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg.pth"
    torch.save(VGG16(LPIPS_LAYERS).state_dict(), path)
    return path


class Halves(nn.Module):
    def forward(self, images):
        return [images, nn.functional.avg_pool2d(images, 2)]


@pytest.fixture
def quick(monkeypatch):
    """A perceptual distance without weights; returns what was asked for."""
    asked = {}

    def load(name, **settings):
        asked.update(settings, name=name)
        return PerceptualDistance(Halves(), [torch.tensor(1.0)] * 2, unit_length=False, name=name)

    monkeypatch.setattr("ganedit.losses.load_perceptual", load)
    return asked


@pytest.fixture
def options(network_path):
    return ("--network", network_path, "--device", "cpu", "--steps", 5)


@pytest.fixture
def photo(tmp_path, generator):
    path = tmp_path / "photo.png"
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(9))
    write_image(path, generator.synthesize(generator.map(z)).clamp(-1, 1))
    return path


RESULTS = ["photo.pt", "photo.png", "photo-target.png", "photo-comparison.png", "photo-loss.png"]


def test_everything_the_issue_promises(run, photo, options, vgg_path, network):
    result = run("project", photo, *options, "--loss", "vgg16", "--vgg-weights", vgg_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [f"out/{name}" for name in [*RESULTS, "run.json"]]
    assert "PSNR" in result.stderr
    assert "Traceback" not in result.stderr
    latent = load_latent("out/photo.pt")
    assert latent.names == ("photo",)
    assert latent.space == "w+"
    assert latent.fingerprint == network.fingerprint
    picture = network.generator.synthesize(latent.ws, noise=latent.noise)
    assert (read_image("out/photo.png") - picture.clamp(-1, 1)).abs().max() < 1 / 127
    assert torch.equal(read_image("out/photo-target.png"), read_image(photo))
    assert read_image("out/photo-loss.png").shape == (1, 3, 540, 960)
    record = json.loads(Path("out/run.json").read_text())
    assert record["command"] == "project"
    assert record["seeds"] == [0]
    assert record["arguments"]["steps"] == 5
    assert record["generator"]["fingerprint"] == network.fingerprint
    (figures,) = record["results"]
    assert figures["loss"] == "vgg16"
    assert {"distance", "lpips", "psnr", "seconds", "best_step", "domain_gap"} <= set(figures)
    assert figures["lpips"] > 0
    assert sorted(record["files"]) == sorted(RESULTS)


def test_space_w_shares_one_vector_and_noise_can_stay(run, photo, options, quick):
    result = run("project", photo, *options, "--space", "w", "--no-optimize-noise")
    assert result.exit_code == 0, result.output
    latent = load_latent("out/photo.pt")
    assert latent.space == "w"
    assert torch.equal(latent.ws, latent.ws[:, :1].expand_as(latent.ws))
    assert latent.noise is None


def test_several_photos_are_one_batch_named_after_their_files(run, photo, options, quick, tmp_path):
    other = tmp_path / "wide.jpg"
    Image.new("RGB", (90, 40), "teal").save(other)
    result = run("project", photo, other, *options)
    assert result.exit_code == 0, result.output
    assert "out/wide-comparison.png" in result.stdout.split()
    assert "mean" in result.stderr
    alone = run("project", other, *options, "--out", "alone")
    assert alone.exit_code == 0
    together, single = load_latent("out/wide.pt"), load_latent("alone/wide.pt")
    torch.testing.assert_close(together.ws, single.ws, rtol=1e-3, atol=1e-3)
    assert quick["name"] == "lpips"


def test_a_run_replaces_its_own_results_but_not_foreign_files(run, fails, photo, options, quick):
    assert run("project", photo, *options).exit_code == 0
    assert run("project", photo, *options).exit_code == 0
    Path("out/photo-loss.png").write_text("mine")
    before = Path("out/photo.pt").read_bytes()
    assert "photo-loss.png" in fails("project", photo, *options)
    assert Path("out/photo.pt").read_bytes() == before
    assert run("project", photo, *options, "--overwrite").exit_code == 0


def test_the_video_plays_everywhere(run, photo, options, quick):
    import av

    result = run("project", photo, *options, "--save-video")
    assert result.exit_code == 0, result.output
    assert "out/photo.mp4" in result.stdout.split()
    with av.open("out/photo.mp4") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (512, 256)
        assert sum(1 for _ in container.decode(video=0)) == 5 + 15


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "P", "I;16", "1"])
def test_photos_of_any_mode(run, options, quick, tmp_path, mode):
    path = tmp_path / "photo.tif"
    Image.new(mode, (33, 57)).save(path)
    result = run("project", path, *options)
    assert result.exit_code == 0, result.output


def test_photos_lie_as_the_camera_held_them(run, options, quick, tmp_path):
    path = tmp_path / "photo.jpg"
    picture = Image.new("RGB", (32, 32), "white")
    picture.paste("black", (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(path, exif=exif, quality=100)
    assert run("project", path, *options).exit_code == 0
    target = read_image("out/photo-target.png")
    assert target[..., :6].mean() > 0.8 > -0.8 > target[..., -6:].mean()
    assert (target - to_square(read_image(path), 16)).abs().max() < 1 / 127


def test_a_photo_of_something_else_gets_a_warning(
    run, options, quick, photo, tmp_path, monkeypatch
):
    path = tmp_path / "plain.png"
    Image.new("RGB", (16, 16), "yellow").save(path)
    assert run("project", path, photo, *options).exit_code == 0
    far, near = (r["domain_gap"] for r in json.loads(Path("out/run.json").read_text())["results"])
    # The tiny network's pictures are so wild that hardly anything is far from them.
    monkeypatch.setattr("ganedit.inversion.DOMAIN_GAP_LIMIT", (far + near) / 2)
    path, photo = (path, photo) if far > near else (photo, path)
    result = run("project", path, photo, *options)
    assert result.exit_code == 0
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1
    assert path.name in warnings[0]
    assert "times as far" in warnings[0]
    assert "crop it" in warnings[0]


def test_json_goes_to_stdout(run, options, quick, photo):
    result = run("project", photo, *options, "--json")
    assert json.loads(result.stdout)["results"][0]["name"] == "photo"


def test_time_limit(run, options, quick, photo):
    result = run("project", photo, *options[:-1], 5000, "--max-seconds", 0.3)
    assert result.exit_code == 0
    record = json.loads(Path("out/run.json").read_text())
    assert record["results"][0]["best_step"] < 4999


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(20), b"GIF89a\x00\x00\x00\x00"]
)
def test_one_bad_photo_among_several_stops_before_any_work(
    fails, options, quick, photo, tmp_path, content
):
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    assert "bad.png" in fails("project", photo, bad, *options)
    assert not Path("out").exists()


def test_photos_that_cannot_be_read(fails, options, quick, photo, tmp_path):
    assert "absent.jpg" in fails("project", photo, tmp_path / "absent.jpg", *options)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no pictures in this folder" in fails("project", empty, *options)
    cut = tmp_path / "cut.png"
    cut.write_bytes(photo.read_bytes()[:-40])
    assert "cut.png" in fails("project", cut, *options)
    huge = tmp_path / "huge.png"
    Image.new("1", (30_000, 30_000)).save(huge)
    assert "huge.png" in fails("project", huge, *options)
    assert not Path("out").exists()


def test_results_that_would_collide(fails, options, quick, photo, tmp_path):
    twin = tmp_path / "other" / "photo.jpg"
    twin.parent.mkdir()
    Image.new("RGB", (8, 8)).save(twin)
    assert "both would be written to out/photo.pt" in fails("project", photo, twin, *options)
    target = tmp_path / "photo-target.jpg"
    Image.new("RGB", (8, 8)).save(target)
    assert "out/photo-target.png" in fails("project", photo, target, *options)
    assert "both would be written" in fails("project", photo, photo, *options)


def test_a_photo_is_never_replaced_by_its_own_projection(fails, options, quick, photo):
    content = photo.read_bytes()
    message = fails("project", photo, *options, "--out", photo.parent, "--overwrite")
    assert "choose another --out" in message
    assert photo.read_bytes() == content


def test_output_folders_that_cannot_be(fails, options, quick, photo, tmp_path):
    assert "is a file" in fails("project", photo, *options, "--out", photo)
    foreign = tmp_path / "results"
    foreign.mkdir()
    (foreign / "photo.png").write_text("mine")
    assert "not written by ganedit" in fails("project", photo, *options, "--out", foreign)
    assert [p.name for p in foreign.iterdir()] == ["photo.png"]


def test_weights_that_are_missing_or_broken(fails, options, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    message = fails("project", photo, *options)
    assert "vgg16-397923af.pth" in message
    assert "--vgg-weights FILE" in message
    assert "--vgg-weights download" in message
    assert "--loss pixel" in message
    assert "not a file of plain" in fails("project", photo, *options, "--vgg-weights", photo)
    assert not Path("out").exists()


def test_pixels_need_no_weights(run, options, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    result = run("project", photo, *options, "--loss", "pixel")
    assert result.exit_code == 0, result.output
    figures = json.loads(Path("out/run.json").read_text())["results"][0]
    assert (figures["loss"], figures["lpips"]) == ("pixel", None)


def test_a_class_is_projected_into(run, quick, photo, class_network_path):
    arguments = ["--network", class_network_path, "--steps", "2", "--class", "1"]
    result = run("project", photo, *arguments, "--device", "cpu")
    assert result.exit_code == 0, result.output


def test_a_generator_without_noise_maps_is_said_once(run, photo, quick):
    config = make_generator().config | {"use_noise": False}
    save_network("quiet.safetensors", StyleGAN2Generator(**config), provenance={})
    arguments = ["--network", "quiet.safetensors", "--device", "cpu", "--steps", "2"]
    result = run("project", photo, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("no noise maps; only its latents are optimised") == 1
    assert load_latent("out/photo.pt").noise is None
    assert "noise maps" not in run("project", photo, *arguments, "--no-optimize-noise").stderr


def test_networks_that_cannot_be_used(fails, quick, photo, class_network_path):
    message = fails("project", photo, "--network", class_network_path, "--device", "cpu")
    assert "needs a class, 0 to 2; choose one with --class" in message
    arguments = ["--network", class_network_path, "--device", "cpu"]
    assert "class 3 does not exist" in fails("project", photo, *arguments, "--class", "3")
    assert "no classes" in fails("project", photo, "--class", "0", "--device", "cpu")
    assert "no such file" in fails("project", photo, "--network", "absent.safetensors")
    assert "not a network" in fails("project", photo, "--network", photo)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--steps", "0"],
        ["--steps", "many"],
        ["--space", "z"],
        ["--loss", "l3"],
        ["--pixel-weight", "-1"],
        ["--max-seconds", "0"],
        ["--max-seconds", "nan"],
        ["--pixel-weight", "inf"],
        ["--seed", "-1"],
        ["--init", "encodr"],
        ["--init", "seed:1-3"],
        ["--init", "seed:x"],
        ["--two-stage", "--no-optimize-noise"],
        ["--batch", "0"],
    ],
)
def test_usage_errors(fails, photo, arguments):
    fails("project", photo, *arguments, code=2)


@pytest.mark.parametrize("init", ["search", "mean", "seed:3"])
def test_starts(run, photo, options, quick, init):
    result = run("project", photo, *options, "--init", init)
    assert result.exit_code == 0, result.output
    assert json.loads(Path("out/run.json").read_text())["start"] == init


def test_a_latent_is_a_start_for_the_photos_that_it_names(run, fails, photo, options, quick):
    assert run("project", photo, *options, "--out", "first").exit_code == 0
    arguments = ["project", photo, *options[:-1], "1"]
    assert run(*arguments, "--init", "first/photo.pt").exit_code == 0
    before, after = (load_latent(f"{folder}/photo.pt") for folder in ("first", "out"))
    assert torch.equal(before.ws, after.ws)
    assert all(torch.equal(a, b) for a, b in zip(before.noise, after.noise, strict=True))
    pair = Latent(before.ws.repeat(2, 1, 1), "w+", before.fingerprint, before.network)
    save_latent("pair.pt", replace(pair, names=("photo", "other")))
    assert run(*arguments, "--init", "pair.pt").exit_code == 0
    save_latent("pair.pt", replace(pair, names=("one", "other")))
    assert "none of the name photo" in fails(*arguments, "--init", "pair.pt")
    assert "no such file" in fails(*arguments, "--init", "absent.pt")


def test_an_encoder_that_is_not_at_hand(fails, run, photo, options, quick, other_network_path):
    assert "train-encoder" in fails("project", photo, *options, "--init", "encoder")
    assert run("project", photo, *options).exit_code == 0
    message = fails(
        "project",
        photo,
        "--network",
        other_network_path,
        "--device",
        "cpu",
        "--init",
        "out/photo.pt",
    )
    assert "made with another generator" in message


def test_the_clay_encoder_is_where_projection_starts(run, tmp_path):
    image = render(sample_factors([2**30 + 5])).image
    write_image(tmp_path / "head.png", image)
    result = run("project", tmp_path / "head.png", "--steps", "2", "--device", "cpu")
    assert result.exit_code == 0, result.output
    record = json.loads(Path("out/run.json").read_text())
    assert record["start"].startswith("encoder ")
    assert record["results"][0]["distance"] < 0.5


def test_a_mask_hides_a_part(run, fails, photo, options, quick):
    half = torch.ones(1, 3, 16, 16)
    half[..., :8] = -1
    write_image("mask.png", half)
    assert run("project", photo, *options, "--mask", "mask.png").exit_code == 0
    write_image("mask.png", -torch.ones(1, 3, 16, 16))
    assert "black all over" in fails("project", photo, *options, "--mask", "mask.png")


def test_no_photo_is_a_usage_error(fails):
    fails("project", code=2)


def test_an_unknown_device(fails, photo, network_path, quick):
    assert "device" in fails("project", photo, "--network", network_path, "--device", "tpu9")


def test_defaults_are_the_librarys():
    library = inspect.signature(ganedit.inversion.project).parameters
    for name, parameter in inspect.signature(command).parameters.items():
        if name in library and name not in ("network", "targets"):
            default = library[name].default
            wanted = str(default).removeprefix("torch.") if name == "dtype" else default
            assert parameter.default == wanted, name


def test_help_does_not_import_torch():
    code = (
        "import sys; import ganedit.cli.project; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'PIL')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
