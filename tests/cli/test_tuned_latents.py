import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints.tuning import apply_tuning, load_tuning, save_tuning, synthesis_weights
from ganedit.editing import interpolate, sample, synthesize
from ganedit.errors import GaneditError
from ganedit.io import load_latent, read_image, save_latent


def make_tuned(network, folder, *, seed=1, scale=0.02):
    """Write photo.pt with a tuning beside it; return the latent and the tuned network."""
    stream = torch.Generator().manual_seed(seed)
    differences = {
        key: scale * torch.randn(x.shape, generator=stream)
        for key, x in synthesis_weights(network.generator).items()
    }
    folder.mkdir(exist_ok=True)
    save_tuning(folder / "photo_tuning.safetensors", differences, network)
    latent = replace(sample(network, [seed]), names=("photo",), tuning="photo_tuning.safetensors")
    save_latent(folder / "photo.pt", latent)
    return latent, apply_tuning(network, load_tuning(folder / "photo_tuning.safetensors"))


@pytest.fixture
def tuned(network, tmp_path):
    latent, tuned_network = make_tuned(network, tmp_path / "photos")
    return tmp_path / "photos" / "photo.pt", latent, tuned_network


def test_commands_draw_a_tuned_latent_with_its_tuned_generator(run, tuned, network):
    path, latent, tuned_network = tuned
    result = run("interpolate", path, "7", "--weights", "1,0", "--device", "cpu")
    assert result.exit_code == 0, result.output
    picture = read_image("out/combination.png")
    expected = next(synthesize(tuned_network, latent)).clamp(-1, 1)
    assert (picture - expected).abs().max() < 0.01
    untuned = next(synthesize(network, replace(latent, tuning=None))).clamp(-1, 1)
    assert (picture - untuned).abs().max() > 0.05


def test_saved_latents_take_the_tuning_along(run, tuned, tmp_path):
    path, _, tuned_network = tuned
    result = run("interpolate", path, "7", "--frames", "2", "--strip", "--save-latents")
    assert result.exit_code == 0, result.output
    (copied,) = (tmp_path / "cwd" / "out").glob("tuning-*.safetensors")
    assert f"out/{copied.name}" in result.stdout.split()
    assert copied.name in json.loads(Path("out/run.json").read_text())["results"]
    assert load_latent("out/interpolation.pt").tuning == copied.name
    shutil.rmtree(path.parent)
    again = run(
        "mix", "--rows", "out/interpolation.pt", "--cols", "9", "--layers", "3", "--out", "m"
    )
    assert again.exit_code == 0, again.output
    seed = sample(tuned_network, [9], truncation_psi=0.7)
    expected = next(synthesize(tuned_network, seed)).clamp(-1, 1)
    assert (read_image("m/mix.png")[..., :16, 16:32] - expected).abs().max() < 0.01
    # Into the same folder again: the copy is there already, and is the same.
    mixed = run(
        "mix", "--rows", "out/interpolation.pt", "--cols", "9", "--layers", "3", "--save-latents"
    )
    assert mixed.exit_code == 0, mixed.output
    assert load_latent("out/mix.pt").tuning == copied.name


def test_a_copy_of_the_same_tuning_is_the_same_tuning(run, tuned, tmp_path):
    path = tuned[0]
    shutil.copytree(path.parent, tmp_path / "copy")
    result = run("interpolate", path, tmp_path / "copy" / "photo.pt", "--weights", "0.5,0.5")
    assert result.exit_code == 0, result.output
    assert load_latent("out/combination.pt").tuning.startswith("tuning-")


def test_untuned_latents_beside_a_tuned_one_are_told_of(run, tuned, latent_paths):
    result = run("interpolate", latent_paths[0], tuned[0], "--frames", "2", "--strip")
    assert result.exit_code == 0, result.output
    note = f"{latent_paths[0]}: drawn by the generator that was tuned for {tuned[0]}"
    assert note in result.stderr.splitlines()


def test_a_moved_latent_without_its_tuning_is_one_line(fails, tuned, tmp_path):
    moved = tmp_path / "moved.pt"
    tuned[0].rename(moved)
    line = fails("interpolate", moved, "7")
    assert line.endswith(
        f"{moved}: its tuned generator is missing; photo_tuning.safetensors belongs beside it"
    )


def test_differently_tuned_latents_are_one_line(fails, tuned, network, tmp_path):
    make_tuned(network, tmp_path / "others", seed=2)
    other = tmp_path / "others" / "photo.pt"
    line = fails("interpolate", tuned[0], other)
    assert f"{tuned[0]} and {other}: their generators were tuned differently" in line


def test_a_broken_tuning_is_one_line(fails, tuned):
    path = tuned[0].parent / "photo_tuning.safetensors"
    path.write_bytes(b"no tuning at all")
    assert f"{path}: not a tuning file" in fails("interpolate", tuned[0], "7")


def test_a_tuning_of_another_network_is_one_line(fails, tuned, other_network_path, network):
    from ganedit.checkpoints import load_network

    other = load_network(other_network_path, device="cpu")
    path = tuned[0].parent / "photo_tuning.safetensors"
    zeros = {k: torch.zeros_like(x) for k, x in synthesis_weights(other.generator).items()}
    save_tuning(path, zeros, other)
    assert f"{path}: tunes another generator" in fails("interpolate", tuned[0], "7")


def test_the_library_refuses_to_draw_a_tuned_latent_untuned(tuned, network):
    with pytest.raises(GaneditError, match="photo: its generator was tuned"):
        next(synthesize(network, tuned[1]))
    with pytest.raises(GaneditError, match="tuned differently"):
        interpolate([tuned[1], sample(network, [3])])
