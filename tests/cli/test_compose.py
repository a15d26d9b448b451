import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints.tuning import load_tuning, save_tuning
from ganedit.editing import sample, synthesize
from ganedit.io import load_latent, read_image, save_latent, write_image

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = ["composed.pt", "composed.png", "composed-comparison.png", "run.json"]


@pytest.fixture
def mask(tmp_path):
    picture = -torch.ones(1, 3, 32, 32)
    picture[:, :, 16:] = 1
    write_image(tmp_path / "mask.png", picture)
    return tmp_path / "mask.png"


@pytest.fixture
def photos(tmp_path, network):
    """Two photos, larger than the generator's pictures."""
    paths = [tmp_path / "one.png", tmp_path / "two.jpg"]
    for path, picture in zip(paths, synthesize(network, sample(network, [1, 2])), strict=True):
        write_image(path, picture.repeat_interleave(2, 2).repeat_interleave(2, 3))
    return paths


@pytest.fixture
def quick(network_path):
    """Options for the tiny network."""
    return ("--network", network_path, "--loss", "pixel", "--steps", "3", "--device", "cpu")


def test_two_photos_become_one_latent(run, photos, mask, quick, network):
    result = run("compose", *photos, "--mask", mask, *quick)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [f"out/{name}" for name in FILES]
    latent = load_latent("out/composed.pt")
    assert (len(latent), latent.space, latent.names) == (1, "w+", ("composed",))
    write_image("again.png", next(synthesize(network, latent)))
    assert torch.equal(read_image("again.png"), read_image("out/composed.png"))
    sheet = read_image("out/composed-comparison.png")
    assert sheet.shape[3] == 5 * 192
    record = json.loads(Path("out/run.json").read_text())
    (figures,) = record["results"]
    assert {"psnr_outside", "psnr_inside", "seam", "seam_pasted", "seam_photos"} <= set(figures)
    assert record["start"] == "search"


def test_the_clay_heads_of_the_example_are_composed(run, tmp_path):
    paths = [EXAMPLES / name for name in ("photo.jpg", "photo-2.jpg", "mask.png")]
    result = run("compose", *paths[:2], "--mask", paths[2], "--steps", "15", "--device", "cpu")
    assert result.exit_code == 0, result.output
    record = json.loads(Path("out/run.json").read_text())
    (figures,) = record["results"]
    assert record["start"] == "encoder clay-encoder"
    assert min(figures["psnr_outside"], figures["psnr_inside"]) > 22
    assert figures["seam"] < 0.75 * figures["seam_pasted"]


def test_latents_bring_their_generator_and_a_is_the_start(run, latent_paths, latents, mask):
    options = ["--loss", "pixel", "--steps", "1", "--device", "cpu"]
    result = run("compose", *latent_paths[:2], "--mask", mask, *options)
    assert result.exit_code == 0, result.output
    assert torch.equal(load_latent("out/composed.pt").ws, latents[0].ws)
    assert json.loads(Path("out/run.json").read_text())["start"] == "A"


def test_a_photo_and_a_seed_are_composed(run, photos, mask, quick):
    result = run("compose", "7", photos[0], "--mask", mask, *quick, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["start"] == "A"


def test_the_same_seed_gives_the_same_latent(run, photos, mask, quick):
    for out in ("a", "b"):
        run("compose", *photos, "--mask", mask, *quick, "--seed", "4", "--out", out)
    found = [load_latent(f"{out}/composed.pt") for out in ("a", "b")]
    assert torch.equal(found[0].ws, found[1].ws)
    assert torch.equal(found[0].noise[-1], found[1].noise[-1])


def test_the_other_way_round_is_the_other_mask(run, photos, mask, quick):
    write_image("inverted.png", -read_image(mask))
    run("compose", *photos, "--mask", mask, *quick)
    run("compose", *photos[::-1], "--mask", "inverted.png", *quick, "--out", "other")
    found = [load_latent(f"{out}/composed.pt").ws for out in ("out", "other")]
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


def test_a_tuned_generator_goes_along(run, latents, latent_paths, mask, network, tmp_path):
    changes = {"synthesis.b4.const": torch.full_like(_const(network), 0.1)}
    save_tuning(tmp_path / "a-tuning.safetensors", changes, network)
    save_latent(latent_paths[0], replace(latents[0], tuning="a-tuning.safetensors"))
    options = ["--loss", "pixel", "--steps", "1", "--device", "cpu"]
    result = run("compose", *latent_paths[:2], "--mask", mask, *options)
    assert result.exit_code == 0, result.output
    tuning = load_latent("out/composed.pt").tuning
    assert load_tuning(f"out/{tuning}")


def _const(network):
    return network.generator.state_dict()["synthesis.b4.const"]


def test_seeds_of_a_conditional_network_take_a_class(run, fails, mask, class_network_path):
    options = ["--network", class_network_path, "--loss", "pixel", "--steps", "2"]
    assert "class" in fails("compose", "1", "2", "--mask", mask, *options)
    result = run("compose", "1", "2", "--mask", mask, *options, "--class", "1")
    assert result.exit_code == 0, result.output
    arguments = ["out/composed.pt", "2", "--mask", mask, "--loss", "pixel", "--steps", "2"]
    result = run("compose", *arguments, "--class", "1", "--out", "again")
    assert result.exit_code == 0, result.output


# Bad input


@pytest.mark.parametrize(("level", "which"), [(-1.0, "white"), (1.0, "black")])
def test_a_mask_of_one_colour_is_one_line(fails, photos, quick, tmp_path, level, which):
    write_image(tmp_path / "flat.png", torch.full((1, 3, 8, 8), level))
    line = fails("compose", *photos, "--mask", tmp_path / "flat.png", *quick)
    assert f"flat.png: the mask is nowhere {which}" in line


def test_a_feather_wider_than_the_mask_is_one_line(fails, photos, quick, tmp_path):
    dot = -torch.ones(1, 3, 16, 16)
    dot[:, :, 8, 8] = 1
    write_image(tmp_path / "dot.png", dot)
    line = fails("compose", *photos, "--mask", tmp_path / "dot.png", *quick, "--feather", "0.2")
    assert "make it smaller" in line


def test_a_mask_that_is_missing_or_no_picture_is_one_line(fails, photos, quick, latent_paths):
    assert "--mask" in fails("compose", *photos, *quick, code=2)
    assert "no such file" in fails("compose", *photos, "--mask", "absent.png", *quick)
    assert "not a picture" in fails("compose", *photos, "--mask", latent_paths[0], *quick)


def test_latents_of_different_generators_are_one_line(
    fails, latents, latent_paths, other_network_path, mask
):
    stranger = replace(latents[1], fingerprint="sha256:" + 64 * "0")
    save_latent(latent_paths[1], stranger)
    line = fails("compose", *latent_paths[:2], "--mask", mask, "--loss", "pixel")
    assert "b.pt: made with another generator" in line


def test_several_latents_in_a_file_are_one_line(fails, network, mask, tmp_path, quick):
    save_latent(tmp_path / "many.pt", sample(network, [1, 2, 3]))
    line = fails("compose", tmp_path / "many.pt", "5", "--mask", mask, *quick)
    assert "many.pt: holds 3 latents" in line


def test_one_file_twice_is_one_line(fails, photos, mask, quick):
    assert "one and the same" in fails("compose", photos[0], photos[0], "--mask", mask, *quick)


def test_a_result_never_replaces_an_input(run, fails, photos, mask, quick):
    run("compose", *photos, "--mask", mask, *quick)
    line = fails("compose", "out/composed.png", photos[0], "--mask", mask, *quick)
    assert "is an input and would be replaced" in line
    assert run("compose", *photos, "--mask", mask, *quick).exit_code == 0


def test_files_of_others_are_left_alone(fails, photos, mask, quick):
    Path("out").mkdir()
    Path("out/composed.png").write_text("mine")
    assert "add --overwrite" in fails("compose", *photos, "--mask", mask, *quick)
    assert Path("out/composed.png").read_text() == "mine"


@pytest.mark.parametrize("feather", ["nan", "-0.1", "0.6"])
def test_a_senseless_feather_is_a_usage_error(fails, photos, mask, feather):
    arguments = ["compose", *photos, "--mask", mask, "--feather", feather]
    assert "feather" in fails(*arguments, code=2)


def test_photos_that_are_missing_or_broken_are_one_line(fails, photos, mask, quick, tmp_path):
    (tmp_path / "broken.png").write_bytes(photos[0].read_bytes()[:60])
    assert "broken" in fails("compose", photos[0], tmp_path / "broken.png", "--mask", mask, *quick)
    assert "no such file" in fails("compose", photos[0], "absent.jpg", "--mask", mask, *quick)
