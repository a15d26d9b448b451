"""Projection with tuning and alignment: what the options bring together."""

import json
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import load_network
from ganedit.checkpoints.tuning import apply_tuning, load_tuning
from ganedit.data.alignment import crop_quad
from ganedit.data.clayheads import render, sample_factors
from ganedit.io import load_latent, read_image, write_image
from ganedit.metrics import psnr


@pytest.fixture
def options(network_path):
    return ("--network", network_path, "--device", "cpu", "--steps", 3, "--loss", "pixel")


@pytest.fixture
def photos(tmp_path, generator):
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(9))
    images = generator.synthesize(generator.map(z)).clamp(-1, 1)
    for name, image in zip("ab", images, strict=True):
        write_image(tmp_path / f"{name}.png", image[None])
    return [tmp_path / "a.png", tmp_path / "b.png"]


@pytest.mark.parametrize("rank", [[], ["--rank", 1]])
def test_a_tuned_projection_draws_what_its_files_say(run, photos, options, network_path, rank):
    result = run("project", *photos, *options, "--tune", *rank, "--max-seconds", 2)
    assert result.exit_code == 0, result.output
    assert "out/a-tuning.safetensors" in result.stdout.split()
    for name in "ab":
        latent = load_latent(f"out/{name}.pt")
        assert latent.tuning == f"{name}-tuning.safetensors"
        network = load_network(network_path, device="cpu")
        tuned = apply_tuning(network, load_tuning(Path("out") / latent.tuning)).generator
        image = tuned.synthesize(latent.ws, noise=latent.noise)
        assert (image.clamp(-1, 1) - read_image(f"out/{name}.png")).abs().max() < 1 / 127


def test_tuning_comes_closer(run, photos, options):
    distances = []
    for extra in ([], ["--tune"]):
        arguments = [*options[:-4], "--steps", 3, "--loss", "pixel", "--max-seconds", 3, *extra]
        assert run("project", photos[0], *arguments, "--out", "one").exit_code == 0
        record = json.loads(Path("one/run.json").read_text())
        distances.append(record["results"][0]["distance"])
    assert distances[1] < distances[0]


def test_a_shared_tuning_draws_all_photos_and_goes_with_all_latents(
    run, photos, options, network_path
):
    tuning = ("--tune", "--shared", "--tune-steps", 8, "--locality-weight", 0.1)
    result = run("project", *photos, *options, *tuning, "--batch", 1)
    assert result.exit_code == 0, result.output
    assert result.stdout.split().count("out/shared-tuning.safetensors") == 1
    tuned = apply_tuning(
        load_network(network_path, device="cpu"), load_tuning("out/shared-tuning.safetensors")
    ).generator
    record = json.loads(Path("out/run.json").read_text())
    for row, name in enumerate("ab"):
        latent = load_latent(f"out/{name}.pt")
        assert latent.tuning == "shared-tuning.safetensors"
        image = tuned.synthesize(latent.ws, noise=latent.noise).clamp(-1, 1)
        assert (image - read_image(f"out/{name}.png")).abs().max() < 1 / 127
        error = psnr(image, read_image(f"out/{name}-target.png"))
        assert float(error) == pytest.approx(record["results"][row]["psnr"], abs=0.1)
    assert run("interpolate", "out/a.pt", "out/b.pt", "--frames", 2, "--out", "way").exit_code == 0


def test_tuning_stops_at_the_distance_that_is_asked_for(run, photos, options):
    for stop, out in ((1e6, "soon"), (0, "late")):
        given = ("--tune", "--tune-steps", 4, "--tune-stop", stop, "--out", out)
        assert run("project", photos[0], *options, *given).exit_code == 0
    soon, late = (load_tuning(f"{out}/a-tuning.safetensors").factors for out in ("soon", "late"))
    assert all(float(x.abs().max()) == 0 for (x,) in soon.values())
    assert any(float(x.abs().max()) > 0 for (x,) in late.values())


def test_options_need_what_they_are_for(fails, tmp_path, photos, options):
    for option in ("--rank", "--tune-steps", "--tune-stop", "--locality-weight"):
        assert "--tune" in fails("project", photos[0], *options, option, 4, code=2)
    assert "--tune" in fails("project", photos[0], *options, "--shared", code=2)
    told = fails("project", photos[0], *options, "--tune", "--tune-stop", "nan", code=2)
    assert "--tune-stop" in told
    assert "folders" in fails("project", tmp_path, *options, "--tune", "--shared", code=2)
    assert "--align" in fails("project", photos[0], *options, "--face", 2, code=2)
    assert "--align" in fails("project", photos[0], *options, "--face", "all", code=2)
    told = fails("project", photos[0], *options, "--align", "clay", "--face", "x", code=2)
    assert "--face" in told


def test_a_face_in_a_larger_photo_is_cropped_and_its_place_is_kept(
    run, fails, tmp_path, photos, options
):
    scene = torch.full((1, 3, 160, 200), 0.2)
    scene[:, :, 40:104, 90:154] = render(sample_factors([3])).image
    write_image(tmp_path / "scene.png", scene)
    faces = [[[110, 65], [134, 65], [122, 88]], [[20, 20], [24, 20], [22, 24]]]  # eyes and mouth
    Path("faces.json").write_text(json.dumps(faces))
    arguments = ["project", tmp_path / "scene.png", *options, "--align", "faces.json"]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "2 faces found" in result.stderr
    (place,) = load_latent("out/scene.pt").alignment
    assert place.size == (200, 160)
    assert Path(place.photo) == (tmp_path / "scene.png").resolve()
    quad = torch.tensor(place.quad)
    crop = crop_quad(read_image(tmp_path / "scene.png"), quad, 16)
    assert (crop - read_image("out/scene-target.png")).abs().max() < 1 / 64
    assert 110 < quad.mean(dim=0)[0] < 134
    assert run(*arguments, "--face", 2).exit_code == 0
    (other,) = load_latent("out/scene.pt").alignment
    assert torch.tensor(other.quad).mean(dim=0)[0] < 30
    assert "no face 3" in fails(*arguments, "--face", 3)
    assert run(*arguments, "--face", "all", "--out", "all").exit_code == 0
    first, second = (load_latent(f"all/scene-{face}.pt").alignment[0].quad for face in (1, 2))
    assert torch.allclose(torch.tensor(first), quad)
    assert torch.tensor(second).mean(dim=0)[0] < 30
    Path("faces.json").write_text("[]")
    assert "no face found" in fails(*arguments)
