"""Tri-plane networks in commands that were made for flat pictures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import Network, load_network, save_network
from ganedit.cli.masks import read_mask
from ganedit.editing import interpolate, mix, sample, stack, synthesize
from ganedit.editing.clip_edit import PromptScale, optimize_edit
from ganedit.errors import GaneditError
from ganedit.features import load_clip
from ganedit.inversion.composition import part_psnr, part_weights
from ganedit.io import image_grid, load_latent, read_image, save_latent, write_image
from ganedit.losses.clip import Prompt, encode_prompts
from ganedit.three_d.orbits import circle, poses
from tests.conftest import SPHERE, make_triplane

PHOTO = Path(__file__).parents[2] / "examples/photo.jpg"
MASK = Path(__file__).parents[2] / "examples/mask.png"


@pytest.fixture(scope="module")
def volume(triplane_path: Path) -> Network:
    return load_network(triplane_path, device="cpu")


@pytest.fixture(scope="module")
def tuned_path(tmp_path_factory: pytest.TempPathFactory, volume: Network) -> Path:
    """A network that says it was fine-tuned from the tiny one."""
    path = tmp_path_factory.mktemp("networks") / "tuned.safetensors"
    save_network(path, make_triplane(seed=1), provenance={"adapted_from": [volume.fingerprint]})
    return path


@pytest.fixture(scope="module")
def clay_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that says it draws clay heads, so that the embedded CLIP and features judge it."""
    path = tmp_path_factory.mktemp("networks") / "clay.safetensors"
    save_network(path, make_triplane(), provenance={"perceptual": "clay"})
    return path


@pytest.fixture
def posed_paths(volume: Network, tmp_path: Path) -> list[Path]:
    """Two latents that remember cameras, at the picture's left and right."""
    paths = []
    for name, yaw in (("left", -0.5), ("right", 0.5)):
        paths.append(tmp_path / f"{name}.pt")
        latent = sample(volume, [len(name)])
        save_latent(paths[-1], replace(latent, cameras=poses([yaw], [0.1], **SPHERE)))
    return paths


def written(image: torch.Tensor) -> torch.Tensor:
    """Return a picture as it comes back from a file."""
    write_image("wanted.png", image)
    return read_image("wanted.png")


REFUSED = {
    "encode": ("encode", PHOTO, "--network", "TRI"),
    "train-encoder": ("train-encoder", "--data", ".", "--network", "TRI", "--out", "e.safetensors"),
    "recycle": ("recycle", "TRI", "TUNED", "--at", 8, "--data", ".", "--out", "runs"),
    "toonify a photo": ("toonify", PHOTO, "--network", "TRI", "--style", "TUNED"),
    "compose photos": ("compose", PHOTO, 3, "--mask", MASK, "--network", "TRI"),
    "emojify a latent": ("emojify", "LATENT"),
    "blend with a flat one": ("blend", "TRI", "FLAT", "--at", 8),
    "swapped features": ("blend", "TRI", "TUNED", "--features"),
    "translate": ("generate", "--network", "TRI", "--translate", "0.2,0"),
    "a class": ("generate", "--network", "TRI", "--class", 1),
    "convert to rosinality": ("convert", "TRI", "tri.pt"),
    "another's latent": ("interpolate", "LATENT", 3, "--network", "FLAT"),
    "a flat latent": ("edit", "FLAT_LATENT", "--direction", "b8.conv1.0=1", "--network", "TRI"),
    "a flat one from the side": ("generate", "--network", "FLAT", "--yaw", 20),
    "a flat one in orbit": ("interpolate", 1, 2, "--network", "FLAT", "--orbit", 20),
    "an orbit of one picture": ("interpolate", 1, 2, "--weights", ".5,.5", "--orbit", 20),
    "no angle": ("generate", "--network", "TRI", "--yaw", "nan"),
    "too far around": ("generate", "--network", "TRI", "--pitch", 91),
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_what_does_not_apply_is_said_in_one_line(
    run, arguments, triplane_path, tuned_path, network_path, posed_paths, latent_paths
):
    named = {
        "TRI": triplane_path,
        "TUNED": tuned_path,
        "FLAT": network_path,
        "LATENT": posed_paths[0],
        "FLAT_LATENT": latent_paths[0],
    }
    result = run(*(named.get(argument, argument) for argument in arguments))
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert not Path("out").exists() or not list(Path("out").iterdir())


def test_generate_looks_from_where_it_is_told(run, triplane_path, volume):
    result = run(
        "generate", "--seeds", "3", "--network", triplane_path, "--yaw", 30, "--pitch", -10,
        "--save-latents",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    camera = volume.generator.cameras_at([torch.pi / 6], [-torch.pi / 18])
    latent = sample(volume, [3], truncation_psi=0.7)
    front, side = (next(synthesize(volume, latent, cameras=x)) for x in (None, camera))
    assert torch.equal(read_image("out/seed0003.png"), written(side))
    assert not torch.equal(written(front), written(side))
    assert load_latent("out/seed0003.pt").cameras is None


def test_the_camera_moves_from_one_latents_to_the_others(run, posed_paths, volume):
    keys = [load_latent(path) for path in posed_paths]
    path = interpolate(keys, frames=9)
    result = run("interpolate", *posed_paths, "--frames", 9, "--strip", "--network", "TRI")
    assert "TRI" in result.stderr  # there is none of this name
    arguments = ("interpolate", *posed_paths, "--frames", 9, "--strip", "--save-latents")
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    wanted = image_grid(torch.cat(list(synthesize(volume, path))), columns=9)
    assert torch.equal(read_image("out/interpolation-strip.png"), written(wanted))
    saved = load_latent("out/interpolation.pt").cameras
    torch.testing.assert_close(saved[[0, 8]], torch.cat([key.cameras for key in keys]))
    torch.testing.assert_close(saved[4, 3], torch.tensor(0.0), rtol=0, atol=1e-6)  # in front
    assert run(*arguments, "--yaw", 0).exit_code == 0
    front = image_grid(
        torch.cat(list(synthesize(volume, path, cameras=volume.generator.default_camera[None]))),
        columns=9,
    )
    assert torch.equal(read_image("out/interpolation-strip.png"), written(front))


def test_an_orbit_swings_to_both_sides(run, triplane_path, volume):
    result = run(
        "interpolate", 1, 2, "--frames", 9, "--strip", "--orbit", 40, "--yaw", 10,
        "--network", triplane_path,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    keys = [sample(volume, [seed], truncation_psi=0.7) for seed in (1, 2)]
    angles = torch.deg2rad(torch.tensor([-30.0, 50.0, 0.0])).tolist()
    cameras = circle(9, (angles[0], angles[1]), (0, 0), **volume.generator.sphere)
    frames = synthesize(volume, interpolate(keys, frames=9), cameras=cameras)
    wanted = image_grid(torch.cat(list(frames)), columns=9)
    assert torch.equal(read_image("out/interpolation-strip.png"), written(wanted))


def test_a_latent_with_a_camera_and_a_seed_meet(run, posed_paths, volume):
    assert run("interpolate", posed_paths[0], 3, "--frames", 3, "--save-latents").exit_code == 0
    saved = load_latent("out/interpolation.pt").cameras
    torch.testing.assert_close(saved[2], volume.generator.default_camera, rtol=0, atol=1e-6)
    arguments = ("mix", "--rows", f"{posed_paths[1]},1", "--columns", "2,3", "--layers", "2-3")
    assert run(*arguments, "--save-latents").exit_code == 0
    seen = load_latent("out/mix.pt").cameras
    own = load_latent(posed_paths[1]).cameras
    front = volume.generator.default_camera[None]
    torch.testing.assert_close(seen, torch.cat([own, own, front, front]))


def test_rows_of_which_one_remembers_a_camera_need_the_front(volume):
    first, second = (sample(volume, [seed]) for seed in (1, 2))
    offsets = tuple(torch.ones(1, layer.channels) for layer in volume.generator.style_layers)
    posed = replace(first, cameras=poses([0.3], [0.0], **SPHERE), offsets=offsets)
    with pytest.raises(GaneditError, match="remember cameras"):
        stack([posed, second])
    front = volume.generator.default_camera[None]
    both = stack([posed, second], network=volume).cameras
    assert torch.equal(both, torch.cat([posed.cameras, front]))
    mixed = mix(posed, second, layers=[1], network=volume)
    assert torch.equal(mixed.cameras, posed.cameras)


def test_words_are_fitted_as_the_latents_camera_sees_them(volume):
    clip = load_clip()
    posed = replace(sample(volume, [3]), cameras=poses([0.6], [0.0], **SPHERE))
    target = encode_prompts(clip, [Prompt("smile")])
    scale = PromptScale(deviation=1.0, best=1.0, told={})
    settings = {"scale": scale, "companions": 1, "steps": 1, "latent_weight": 0.0}
    everything = torch.ones(1, 1, 16, 16)
    # Before the first step nothing has changed, unless it is seen from elsewhere.
    free, held = (
        optimize_edit(volume, posed, clip, target, keep=keep, **settings).history
        for keep in (None, everything)
    )
    torch.testing.assert_close(held, free, rtol=0, atol=1e-4)


def test_a_direction_is_found_and_used(run, clay_path, posed_paths):
    found = run(
        "factorize", "--network", clay_path, "--count", 2, "--heads", 4, "--degrees", "-1,1"
    )
    assert found.exit_code == 0, found.stderr
    told = json.loads(Path("out/run.json").read_text())["directions"]
    assert "smile" in told[0]["effects"]
    arguments = ("--direction", "out/directions.pt:0=2", "--network", clay_path, "--out", "edited")
    assert run("edit", posed_paths[0], *arguments).exit_code == 0
    before, after = load_latent(posed_paths[0]), load_latent("edited/left-edited.pt")
    assert not torch.equal(after.ws, before.ws)
    assert torch.equal(after.cameras, before.cameras)
    drawn = next(synthesize(load_network(clay_path, device="cpu"), after))
    assert torch.equal(read_image("edited/left-edited.png"), written(drawn))


def test_latents_are_composed_as_the_first_is_seen(run, posed_paths, clay_path):
    left, right = posed_paths
    result = run("compose", left, right, "--mask", MASK, "--network", clay_path, "--steps", 2)
    assert result.exit_code == 0, result.stderr
    camera = load_latent(left).cameras
    composed = load_latent("out/composed.pt")
    assert torch.equal(composed.cameras, camera)
    network = load_network(clay_path, device="cpu")
    found = next(synthesize(network, composed))
    wanted = next(synthesize(network, load_latent(right), cameras=camera)).clamp(-1, 1)
    _, inside = part_weights(read_mask(MASK, network), feather=0.05)
    (told,) = json.loads(Path("out/run.json").read_text())["results"]
    assert told["psnr_inside"] == pytest.approx(float(part_psnr(found, wanted, inside)), abs=1e-2)


def test_an_adaptation_trains_the_planes(run, clay_path):
    result = run(
        "adapt", "--network", clay_path, "--source", "face", "--target", "old face",
        "--steps", 2, "--out", "old.safetensors",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    before, after = (
        load_network(path, device="cpu").generator.state_dict()
        for path in (clay_path, "old.safetensors")
    )
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert changed
    assert all(key.startswith("backbone.synthesis.b") and "affine" not in key for key in changed)


def test_two_networks_are_blended_and_their_latents_drawn(run, triplane_path, tuned_path):
    result = run("blend", triplane_path, tuned_path, "--at", 16, "--rows", "0")
    assert result.exit_code == 0, result.stderr
    blended = load_network("out/blend.safetensors", device="cpu").generator.state_dict()
    lower, upper = (
        load_network(path, device="cpu").generator.state_dict()
        for path in (triplane_path, tuned_path)
    )
    assert {key for key, value in blended.items() if not torch.equal(value, lower[key])} == {
        key
        for key in lower
        if key.startswith(("backbone.synthesis.b16.", "decoder.", "superresolution."))
        and not torch.equal(upper[key], lower[key])
    }
    arguments = ("--network", triplane_path, "--style", tuned_path, "--at", 16, "--out", "toon")
    assert run("toonify", 0, *arguments).exit_code == 0
    network = load_network("out/blend.safetensors", device="cpu")
    base = load_network(triplane_path, device="cpu")
    drawn = next(synthesize(network, sample(base, [0], truncation_psi=0.7)))
    assert torch.equal(read_image("toon/seed0000-toon.png"), written(drawn))
