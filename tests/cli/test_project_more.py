"""Projection with tuning and alignment: what the options bring together."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import load_network
from ganedit.checkpoints.tuning import apply_tuning, load_tuning
from ganedit.data.alignment import crop_quad
from ganedit.data.clayheads import render, sample_factors
from ganedit.errors import GaneditError
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
    for name in "ab":
        latent = load_latent(f"out/{name}.pt")
        assert latent.tuning.startswith(f"{name}-tuning-")
        assert f"out/{latent.tuning}" in result.stdout.split()
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
    (shared,) = Path("out").glob("shared-tuning-*.safetensors")
    assert result.stdout.split().count(str(shared)) == 1
    network = load_network(network_path, device="cpu")
    tuned = apply_tuning(network, load_tuning(shared)).generator
    record = json.loads(Path("out/run.json").read_text())
    for row, name in enumerate("ab"):
        latent = load_latent(f"out/{name}.pt")
        assert latent.tuning == shared.name
        image = tuned.synthesize(latent.ws, noise=latent.noise).clamp(-1, 1)
        assert (image - read_image(f"out/{name}.png")).abs().max() < 1 / 127
        error = psnr(image, read_image(f"out/{name}-target.png"))
        assert float(error) == pytest.approx(record["results"][row]["psnr"], abs=0.1)
    assert run("interpolate", "out/a.pt", "out/b.pt", "--frames", 2, "--out", "way").exit_code == 0


def test_the_bar_shows_the_loss_alone(run, tmp_path, photos, options, monkeypatch):
    shown = []

    @contextmanager
    def progress(title, total=None):
        yield lambda step, total, values: shown.append((step / total, values))

    monkeypatch.setattr("ganedit.cli.console.progress", progress)
    folder = tmp_path / "folder"
    folder.mkdir()
    for photo in photos:
        photo.rename(folder / photo.name)
    for source, extra in ((folder, ()), (folder / "a.png", ("--shared",))):
        shown.clear()
        tuning = ("--tune", "--tune-steps", 2, "--out", f"out-{source.stem}", *extra)
        assert run("project", source, *options, *tuning).exit_code == 0
        assert all(set(values) <= {"loss"} for _, values in shown)
        assert [values["loss"].ndim for _, values in shown if values] == [0] * len(shown)
        parts = [part for part, _ in shown]
        assert parts == sorted(parts)
        assert parts[-1] == 1


def test_later_tunings_leave_earlier_latents_alone(run, fails, photos, options):
    tuning = ("--tune", "--shared", "--tune-steps", 6)
    for photo in photos:
        assert run("project", photo, *options, *tuning).exit_code == 0
    for name in "ab":
        told = run("compare", f"out/{name}.png", f"out/{name}.pt", "--json")
        assert json.loads(told.stdout)["mean"]["psnr"] > 45  # 8-bit rounding apart
    one, other = (Path("out") / load_latent(f"out/{name}.pt").tuning for name in "ab")
    one.write_bytes(other.read_bytes())
    assert "is not the file of this name any more" in fails("compare", "out/a.png", "out/a.pt")


def test_what_a_mask_hides_is_neither_started_from_nor_tuned_to(run, tmp_path, photos, options):
    seen = read_image(photos[0])
    hidden = seen.clone()
    hidden[..., 8:] = 1
    mask = torch.ones_like(seen)
    mask[..., 8:] = -1
    for name, picture in (("x", hidden), ("mask", mask)):
        write_image(tmp_path / f"{name}.png", picture)
    tuning = ("--mask", tmp_path / "mask.png", "--tune", "--tune-steps", 4, "--batch", 1)
    assert run("project", photos[0], tmp_path / "x.png", *options, *tuning).exit_code == 0
    assert (read_image("out/a.png") - read_image("out/x.png")).abs().max() < 1 / 64
    record = json.loads(Path("out/run.json").read_text())
    first, second = (result["psnr"] for result in record["results"])
    assert first == pytest.approx(second, abs=0.1)


def test_names_that_only_some_systems_take(run, tmp_path, photos, options):
    odd = tmp_path / "10:30 what?\u202f.png"
    photos[0].rename(odd)
    assert run("project", odd, *options, "--tune", "--tune-steps", 1).exit_code == 0
    assert load_latent(f"out/{odd.stem}.pt").tuning.startswith(f"{odd.stem}-tuning-")


def test_a_photo_that_cannot_be_tuned_to_fails_alone(run, tmp_path, photos, options, monkeypatch):
    from ganedit.inversion import tune

    def diverge(network, latent, targets, **settings):
        if latent.names == ("b",):
            raise GaneditError("the tuning diverged")
        return tune(network, latent, targets, **settings)

    monkeypatch.setattr("ganedit.inversion.tune", diverge)
    folder = tmp_path / "folder"
    folder.mkdir()
    for photo in photos:
        photo.rename(folder / photo.name)
    result = run("project", folder, *options, "--tune", "--tune-steps", 1)
    assert result.exit_code == 1
    assert "1 of 2 photos failed" in result.stderr
    assert "b.png: the tuning diverged" in result.stderr
    assert Path("out/a.pt").is_file()


def test_tuning_stops_at_the_distance_that_is_asked_for(run, photos, options):
    for stop, out in ((1e6, "soon"), (0, "late")):
        given = ("--tune", "--tune-steps", 4, "--tune-stop", stop, "--out", out)
        assert run("project", photos[0], *options, *given).exit_code == 0
    soon, late = (
        load_tuning(Path(out) / load_latent(f"{out}/a.pt").tuning).factors
        for out in ("soon", "late")
    )
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
    quad = torch.tensor(place.quad, dtype=torch.float64)
    crop = crop_quad(read_image(tmp_path / "scene.png"), quad, 16)
    assert (crop - read_image("out/scene-target.png")).abs().max() < 1 / 64
    assert 110 < quad.mean(dim=0)[0] < 134
    assert run(*arguments, "--face", 2).exit_code == 0
    (other,) = load_latent("out/scene.pt").alignment
    assert torch.tensor(other.quad).mean(dim=0)[0] < 30
    assert "no face 3" in fails(*arguments, "--face", 3)
    assert run(*arguments, "--face", "all", "--out", "all").exit_code == 0
    first, second = (load_latent(f"all/scene-{face}.pt").alignment[0].quad for face in (1, 2))
    assert torch.equal(torch.tensor(first, dtype=torch.float64), quad)
    assert torch.tensor(second).mean(dim=0)[0] < 30
    Path("faces.json").write_text("[]")
    assert "no face found" in fails(*arguments)
