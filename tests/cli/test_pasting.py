"""``--paste-back`` of every command that has it, on the example's clay photo."""

import os
from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from PIL import Image

from ganedit.cli.pasting import pasted_frames
from ganedit.data.alignment import alignment_of, crop_quad, square_quad
from ganedit.editing import sample, synthesize
from ganedit.io import load_latent, read_image, save_latent, to_uint8, write_image

PHOTO = Path(__file__).parents[2] / "examples" / "unaligned.jpg"
CENTRE, HALF = torch.tensor([327.0, 190.0]), torch.tensor([110.0, 40.0])  # about the head, tilted
FEATHER = 0.1  # of the crop's side


@pytest.fixture(scope="module")
def photo():
    return read_image(PHOTO)


@pytest.fixture
def place(photo):
    return alignment_of(str(PHOTO), photo, square_quad(CENTRE, HALF))


@pytest.fixture
def aligned(network, place, tmp_path):
    """A latent file of an aligned photo; its picture is of any kind."""
    save_latent(tmp_path / "head.pt", replace(sample(network, [1]), alignment=(place,)))
    return tmp_path / "head.pt"


def depth(photo):
    """How deep each pixel lies in the crop, in units of its side: negative outside, [H, W]."""
    y, x = (torch.arange(side, dtype=torch.float64) + 0.5 for side in photo.shape[2:])
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) - CENTRE
    right = HALF.double() / HALF.double().square().sum() / 2
    uv = torch.stack([points @ right, points @ torch.stack([-right[1], right[0]])], dim=-1)
    return 0.5 - uv.abs().amax(-1)


def check_pasted(path, photo, picture):
    """Check that a picture fades in where it belongs, and nothing else changed, to the bit."""
    before, after = (to_uint8(image)[0].int() for image in (photo, read_image(path)))
    inside = depth(photo)
    changed = (before != after).any(-1)
    assert not changed[inside < 0].any()
    assert changed[inside > FEATHER].float().mean() > 0.9
    change = (before - after).abs().max(-1).values.float()
    rim, core = (inside > 0) & (inside < 0.1 * FEATHER), inside > FEATHER
    assert change[rim].mean() < 0.1 * change[core].mean()
    quad = square_quad(CENTRE, HALF)
    found, first = (crop_quad(x, quad, 16)[..., 3:13, 3:13] for x in (read_image(path), photo))
    wanted = picture[..., 3:13, 3:13].clamp(-1, 1)
    assert (found - wanted).abs().mean() < 0.25 * (first - wanted).abs().mean()


def test_mixtures_go_back_into_their_rows_photo(run, aligned, photo, network):
    arguments = ["--rows", f"{aligned},7", "--columns", "5-6", "--layers", "3-5"]
    result = run("mix", *arguments, "--paste-back", "--device", "cpu")
    assert result.exit_code == 0, result.output
    names = ["mix.png", "mix-1-1-pasted.png", "mix-1-2-pasted.png", "run.json"]
    assert result.stdout.split() == [f"out/{name}" for name in names]
    table = read_image("out/mix.png")
    check_pasted("out/mix-1-1-pasted.png", photo, table[..., 16:32, 16:32])
    check_pasted("out/mix-1-2-pasted.png", photo, table[..., 16:32, 32:48])


def test_saved_mixtures_remember_their_place(run, aligned, place, photo):
    arguments = ["--rows", aligned, "--columns", "5-6", "--layers", "0"]
    assert run("mix", *arguments, "--save-latents").exit_code == 0
    assert load_latent("out/mix.pt").alignment == (place, place)
    assert run("interpolate", "out/mix.pt", "--frames", "2", "--paste-back").exit_code == 0


def test_a_path_goes_back_as_video_and_strip(run, aligned, photo, place, network):
    forms = ["--video", "--gif", "--strip", "--save-latents"]
    result = run("interpolate", "9", aligned, "--frames", "3", *forms, "--paste-back")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.split()) == 8
    height, width = photo.shape[2:]
    with av.open("out/interpolation-pasted.mp4") as container:
        (*_, last) = container.decode(video=0)
    assert (last.width, last.height) == (width, height)
    with Image.open("out/interpolation-pasted.gif") as picture:
        assert (picture.n_frames, picture.size) == (3, (width, height))
    strip = read_image("out/interpolation-strip-pasted.png")
    assert strip.shape == (1, 3, height, 3 * width)
    write_image("last.png", strip[..., 2 * width :])
    check_pasted("last.png", photo, next(synthesize(network, load_latent(aligned))))
    assert load_latent("out/interpolation.pt").alignment == (place,) * 3


def test_a_combination_goes_back(run, aligned, photo, place):
    result = run("interpolate", aligned, "4", "--weights", "0.7,0.3", "--paste-back")
    assert result.exit_code == 0, result.output
    names = ["combination.png", "combination-pasted.png", "combination.pt", "run.json"]
    assert result.stdout.split() == [f"out/{name}" for name in names]
    picture = read_image("out/combination.png")
    check_pasted("out/combination-pasted.png", photo, picture)
    assert load_latent("out/combination.pt").alignment == (place,)


def test_a_composition_goes_back_into_the_first_photo(run, aligned, photo, place, tmp_path):
    picture = -torch.ones(1, 3, 16, 16)
    picture[:, :, 8:] = 1
    write_image(tmp_path / "mask.png", picture)
    options = ["--mask", tmp_path / "mask.png", "--loss", "pixel", "--steps", "2"]
    result = run("compose", aligned, "5", *options, "--paste-back", "--device", "cpu")
    assert result.exit_code == 0, result.output
    check_pasted("out/composed-pasted.png", photo, read_image("out/composed.png"))
    assert load_latent("out/composed.pt").alignment == (place,)


def test_large_photos_are_reduced_in_videos(place, photo, network):
    picture = next(synthesize(network, sample(network, [1])))
    (small,) = pasted_frames(place, [picture], longest=128)
    (full,) = pasted_frames(place, [picture])
    assert small.shape == (1, 3, 100, 128)
    shrunk = torch.nn.functional.interpolate(full, size=(100, 128), mode="area")
    assert (shrunk - small).abs().mean() < 0.02


# Bad input

COMMANDS = {
    "mix": ["mix", "--rows", "{}", "--columns", "5", "--layers", "0"],
    "interpolate": ["interpolate", "{}", "5", "--frames", "2"],
    "compose": ["compose", "{}", "5", "--mask", "mask.png", "--loss", "pixel", "--steps", "1"],
}


@pytest.fixture(params=COMMANDS)
def command(request, run):
    """Return a command line with --paste-back for a latent; no result of it may appear."""
    write_image("mask.png", torch.linspace(-1, 1, 16).expand(1, 3, 16, 16))
    return lambda latent: [x.format(latent) for x in [*COMMANDS[request.param], "--paste-back"]]


def test_latents_without_a_place_are_one_line(fails, command, latent_paths):
    line = fails(*command(latent_paths[0]))
    assert "none of these latents came from an aligned photo" in line
    assert not list(Path("out").iterdir())


def test_a_latent_does_not_make_the_machine_look_at_a_network_share(
    fails, command, network, place, tmp_path
):
    for photo in ("//host/share/a.jpg", r"\\host\share\a.jpg", r"\\.\pipe\a"):
        moved = replace(place, photo=photo)
        save_latent(tmp_path / "head.pt", replace(sample(network, [1]), alignment=(moved,)))
        assert "is on a network share" in fails(*command(tmp_path / "head.pt"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_latent_does_not_make_the_machine_wait_for_a_pipe(
    fails, command, network, place, tmp_path
):
    os.mkfifo(tmp_path / "pipe.jpg")
    for photo in (str(tmp_path / "pipe.jpg"), os.devnull):
        moved = replace(place, photo=photo)
        save_latent(tmp_path / "head.pt", replace(sample(network, [1]), alignment=(moved,)))
        assert "is no regular file" in fails(*command(tmp_path / "head.pt"))


def test_a_photo_that_is_gone_or_changed_is_one_line(
    fails, command, network, place, photo, tmp_path
):
    kept = tmp_path / "kept.jpg"
    moved = replace(place, photo=str(kept))
    save_latent(tmp_path / "head.pt", replace(sample(network, [1]), alignment=(moved,)))
    assert "kept.jpg: no such file" in fails(*command(tmp_path / "head.pt"))
    write_image(kept, photo[:, :, 10:])
    line = fails(*command(tmp_path / "head.pt"))
    assert "has 512x390 pixels, but 512x400 when it was aligned" in line
    assert not list(Path("out").iterdir())
