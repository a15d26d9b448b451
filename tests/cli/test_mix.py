from pathlib import Path

import pytest
import torch

from ganedit.editing import sample, synthesize
from ganedit.io import load_latent, read_image, save_latent, write_image


def test_a_table_has_rows_at_the_left_and_columns_on_top(run, network_path):
    arguments = ["--rows", "0-1", "--columns", "5-7", "--layers", "0"]
    result = run("mix", *arguments, "--network", network_path, "--save-latents")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["out/mix.png", "out/mix.pt", "out/run.json"]
    table = read_image("out/mix.png")
    assert table.shape == (1, 3, 3 * 16, 4 * 16)
    assert table[..., :16, :16].min() == 1
    run("generate", "--seeds", "1,6", "--network", network_path)
    assert (table[..., :16, 32:48] - read_image("out/seed0006.png")).abs().max() < 0.01
    assert (table[..., 32:, :16] - read_image("out/seed0001.png")).abs().max() < 0.01
    assert len(load_latent("out/mix.pt")) == 6


def test_files_and_seeds_mix(run, latent_paths, latents, network):
    arguments = ["--rows", f"{latent_paths[0]},9", "--columns", latent_paths[1]]
    result = run("mix", *arguments, "--layers", "2-3", "--save-latents", "--device", "cpu")
    assert result.exit_code == 0, result.output
    mixed = load_latent("out/mix.pt")
    expected = sample(network, [9], truncation_psi=0.7).ws.clone()
    expected[:, 2:4] = latents[1].ws[:, 2:4]
    torch.testing.assert_close(mixed.ws[1:], expected)


def test_a_row_keeps_its_noise_maps(run, network, tmp_path):
    photo = sample(network, [1], noise="random")
    save_latent(tmp_path / "photo.pt", photo)
    arguments = ["--rows", f"{tmp_path / 'photo.pt'},7", "--columns", "5-6", "--layers", "0"]
    result = run("mix", *arguments, "--save-latents")
    assert result.exit_code == 0, result.output
    mixed = load_latent("out/mix.pt")
    assert [len(m) for m in mixed.noise] == [4] * len(photo.noise)
    assert torch.equal(mixed.noise[1][:2], photo.noise[1].expand(2, -1, -1, -1))
    assert torch.equal(mixed.noise[1][2:3], network.generator.noise_maps()[1])
    write_image("photo.png", next(synthesize(network, photo)))
    shown = read_image("out/mix.png")[..., 16:32, :16]
    assert (shown - read_image("photo.png")).abs().max() < 0.01


def test_seeds_of_a_conditional_network_take_a_class(run, class_network_path):
    arguments = ["--rows", "0", "--columns", "1", "--layers", "0", "--class", "1"]
    assert run("mix", *arguments, "--network", class_network_path).exit_code == 0


@pytest.mark.parametrize("layers", ["x", "3-1", ""])
def test_layers_that_do_not_parse_are_usage_errors(fails, layers):
    arguments = ["--rows", "0", "--columns", "1", "--layers", layers]
    assert "layers" in fails("mix", *arguments, code=2)


def test_layers_that_do_not_exist_are_one_line(fails, network_path):
    arguments = ["--rows", "0", "--columns", "1", "--layers", "99"]
    assert "layer 99" in fails("mix", *arguments, "--network", network_path)
    assert not list(Path("out").glob("mix*"))


def test_an_empty_place_in_a_list_is_a_usage_error(fails, network_path):
    arguments = ["--rows", "0,,1", "--columns", "1", "--layers", "0"]
    assert "empty place" in fails("mix", *arguments, "--network", network_path, code=2)


def test_latents_of_another_generator_are_one_line(fails, latent_paths, other_network_path):
    arguments = ["--rows", latent_paths[0], "--columns", "1", "--layers", "0"]
    line = fails("mix", *arguments, "--network", other_network_path)
    assert "another generator" in line
