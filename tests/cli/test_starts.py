"""``project --init FILE``: latents that a projection starts from."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ganedit.editing import fill_missing, sample, stack
from ganedit.io import load_latent, save_latent, write_image


@pytest.fixture
def photos(run, generator):
    """Names of photos of two of the tiny network's heads."""
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(9))
    images = generator.synthesize(generator.map(z)).clamp(-1, 1)
    for name, image in zip("ab", images, strict=True):
        write_image(f"{name}.png", image[None])
    return ("a.png", "b.png")


@pytest.fixture
def options(network_path):
    """Of one step, whose result is the start itself."""
    return ("--network", network_path, "--device", "cpu", "--loss", "pixel", "--steps", 1)


@pytest.fixture
def pair(network):
    """Two latents with noise maps of their own, named like the photos but the other way round."""
    noise = torch.Generator().manual_seed(3)
    latent = fill_missing([sample(network, [1]), sample(network, [2])], network)
    maps = tuple(torch.randn(2, 1, *s, generator=noise) for s in network.generator.noise_shapes)
    return replace(stack(latent), noise=maps, names=("b", "a"))


def test_rows_are_started_from_with_their_noise_maps(run, photos, options, pair):
    save_latent("pair.pt", pair)
    result = run("project", *photos, *options, "--init", "pair.pt")
    assert result.exit_code == 0, result.output
    for row, name in enumerate("ba"):
        found = load_latent(f"out/{name}.pt")
        assert torch.equal(found.ws, pair.ws[row : row + 1])
        for got, maps in zip(found.noise, pair.noise, strict=True):
            torch.testing.assert_close(got, maps[row : row + 1])


def test_latents_of_other_projects_are_starts(run, photos, options, pair):
    (first, _) = photos
    np.savez("projected_w.npz", w=pair.ws[:1].numpy())
    result = run("project", first, *options, "--init", "projected_w.npz")
    assert result.exit_code == 0, result.output
    assert "projected_w.npz: a numpy archive, 1 latent" in result.stderr
    assert torch.equal(load_latent("out/a.pt").ws, pair.ws[:1])


def test_a_latent_of_a_tuned_generator_is_no_start(run, fails, photos, options):
    (first, _) = photos
    tuned = ("--tune", "--tune-steps", 2, "--out", "tuned")
    assert run("project", first, *options, *tuned).exit_code == 0
    line = fails("project", first, *options, "--init", "tuned/a.pt")
    assert "tuned/a.pt: was made by a tuned generator" in line


def test_a_start_that_does_not_fit_is_one_line(fails, photos, options, pair):
    arguments = ("project", *photos, *options, "--init", "start.pt")
    save_latent("start.pt", replace(pair, ws=pair.ws[:, :2]))
    assert "its shape is 2x16" in fails(*arguments)
    save_latent("start.pt", replace(pair, noise=pair.noise[:-1]))
    assert "noise maps do not fit" in fails(*arguments)
    save_latent("start.pt", replace(pair, fingerprint="sha256:0"))
    assert "made with another generator" in fails(*arguments)
    np.save("start.npy", np.zeros((1, 1, 5), np.float32))
    assert "1 vector of 5" in fails(*arguments[:-1], "start.npy")
