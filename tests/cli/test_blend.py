"""``ganedit blend``: files, sheets, and what is refused."""

import json
from pathlib import Path
from typing import get_args

import pytest
import torch

from ganedit import blending
from ganedit.blending import swap_features
from ganedit.checkpoints import Network, load_network, save_network
from ganedit.cli import blends
from ganedit.editing import sample
from ganedit.io import labelled_grid, read_image, write_image
from tests.conftest import make_generator


@pytest.fixture(scope="module")
def tuned_path(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Path:
    """A network that says it was fine-tuned from the tiny one."""
    path = tmp_path_factory.mktemp("networks") / "tuned.safetensors"
    told = {"adapted_from": [network.fingerprint]}
    save_network(path, make_generator(seed=1), provenance=told)
    return path


def test_a_blend_is_a_network_that_other_commands_take(
    run, network_path, tuned_path, latent_paths, network
):
    result = run("blend", network_path, tuned_path, "--at", 8, "--rows", f"0-1,{latent_paths[0]}")
    assert result.exit_code == 0
    assert result.stderr == ""
    names = ["blend.safetensors", "blend.png", "run.json"]
    assert result.stdout.splitlines() == [f"out/{name}" for name in names]
    # Three rows; A, the levels 8 and 16, and B.
    assert read_image("out/blend.png").shape[3] == 4 * 128
    blended = load_network("out/blend.safetensors", device="cpu")
    assert blended.accepts(network.fingerprint)
    record = json.loads(Path("out/run.json").read_text())
    assert record["generator"]["fingerprint"] == blended.fingerprint
    assert record["shares"] == [[4, 0.0]] * 2 + [[8, 1.0]] * 2 + [[16, 1.0]] * 2
    drawn = run(
        "mix", "--rows", latent_paths[0], "--columns", "3", "--layers", "4-5",
        "--network", "out/blend.safetensors", "--out", "mixed",
    )  # fmt: skip
    assert drawn.exit_code == 0, drawn.stderr


def test_the_order_says_whose_layers_are_below(run, network_path, tuned_path, network):
    result = run("blend", network_path, tuned_path, "--levels", "4=0", "--order", "BA")
    assert result.exit_code == 0, result.stderr
    tuned = load_network(tuned_path, device="cpu")
    written = load_network("out/blend.safetensors", device="cpu")
    assert written.fingerprint == tuned.fingerprint
    run("blend", network_path, tuned_path, "--at", 4, "--order", "BA", "--out", "other")
    written = load_network("other/blend.safetensors", device="cpu")
    assert written.fingerprint == network.fingerprint


def test_features_give_only_a_sheet(run, network_path, tuned_path):
    result = run("blend", network_path, tuned_path, "--features", "--rows", "0")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == ["out/blend.png", "out/run.json"]
    a, b = (load_network(path, device="cpu").generator for path in (network_path, tuned_path))
    latents = sample(load_network(network_path, device="cpu"), [0], truncation_psi=0.7).ws
    cells = [a.synthesize(latents), *(swap_features(a, b, latents, at=at) for at in (8, 16))]
    cells.append(b.synthesize(latents))
    names = [network_path.stem, "at 8", "at 16", tuned_path.stem]
    write_image("wanted.png", labelled_grid(torch.cat(cells).clamp(-1, 1), names, columns=4))
    assert torch.equal(read_image("out/blend.png"), read_image("wanted.png"))


def test_the_modes_are_those_of_the_library():
    assert get_args(blends.Mode) == get_args(blending.Mode)


def test_strangers_are_blended_with_a_warning(run, network_path, other_network_path):
    result = run("blend", network_path, other_network_path, "--at", 16, "--rows", "0")
    assert result.exit_code == 0
    assert len(result.stderr.splitlines()) == 1
    assert "do not say that one was fine-tuned from the other" in result.stderr


def test_what_differs_is_a_table(run, network_path, wide_network_path):
    result = run("blend", network_path, wide_network_path, "--at", 8)
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert any(line.split() == ["w_dim", "16", "24"] for line in lines)
    assert lines[-1].startswith("error: ")
    assert "cannot be blended" in lines[-1]
    assert not Path("out/blend.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--at", 12], 1, "12 is no level of"),
        (["--levels", "8=0.5,12=1"], 1, "it has 4, 8, 16"),
        (["--levels", "8=nan"], 2, "not from 0 to 1"),
        (["--levels", "8=1.5"], 2, "not from 0 to 1"),
        (["--levels", "8"], 2, "try 8=0.2,16=1"),
        (["--levels", "8=0,8=1"], 2, "twice"),
        (["--levels", "8=1", "--at", 8], 2, "leave out --at"),
        (["--at", 8, "--width", 2], 2, "--width is for --mode logistic"),
        (["--at", 8, "--mode", "logistic", "--width", 0], 2, "0.001"),
        (["--at", 8, "--mode", "logistic", "--width", "nan"], 2, "1000"),
        (["--features", "--mode", "logistic"], 2, "--features has no shares"),
        (["--features", "--at", 8], 2, "leave out --at"),
        (["--at", 8, "--class", 1], 1, "has no classes"),
        (["--at", 8, "--rows", "0-99"], 2, "too many"),
        (["--at", 8, "--rows", "9" * 300], 2, "seeds"),
        ([], 2, "give --at 16"),
    ],
)
def test_bad_values_are_refused_in_one_line(fails, network_path, options, code, told):
    assert told in fails("blend", network_path, network_path, *options, code=code)


def test_classes_are_those_of_the_networks_that_have_them(
    run, fails, network_path, class_network_path, latent_paths
):
    given = (network_path, class_network_path, "--at", 8)
    assert "choose one with --class" in fails("blend", *given, "--rows", "3")
    assert list(Path("out").iterdir()) == []
    assert run("blend", *given, "--rows", "3", "--class", 1).exit_code == 0
    rows = ("--rows", latent_paths[0], "--class", 1)
    assert "--class is for seeds" in fails("blend", *given, *rows)


def test_latents_of_another_generator_are_refused(fails, other_network_path, latent_paths):
    line = fails(
        "blend", other_network_path, other_network_path, "--at", 8, "--rows", latent_paths[0]
    )
    assert "another generator" in line or "fingerprint" in line
