import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import save_network
from ganedit.generators import StyleGAN3Generator
from ganedit.io import load_latent, read_image

TINY = ("--device", "cpu", "--network")


def test_a_picture_for_each_seed_and_a_record(run, network_path):
    result = run("generate", "--seeds", "0-2,42", *TINY, network_path)
    assert result.exit_code == 0, result.output
    names = ["seed0000.png", "seed0001.png", "seed0002.png", "seed0042.png"]
    assert result.stdout.split() == [f"out/{name}" for name in [*names, "run.json"]]
    assert result.stderr == ""
    assert read_image("out/seed0042.png").shape == (1, 3, 16, 16)
    record = json.loads(Path("out/run.json").read_text())
    assert record["command"] == "generate"
    assert record["seeds"] == [0, 1, 2, 42]
    assert record["arguments"]["trunc"] == 0.7
    assert record["generator"]["fingerprint"].startswith("sha256:")
    assert list(record["files"]) == names


def test_the_same_seed_gives_the_same_file_in_any_company(run, network_path):
    run("generate", "--seeds", "0-9", "--out", "many", *TINY, network_path)
    run("generate", "--seeds", "7", "--out", "one", *TINY, network_path)
    difference = read_image("many/seed0007.png") - read_image("one/seed0007.png")
    assert difference.abs().max() <= 1 / 127 + 1e-6


def test_a_grid_holds_the_pictures(run, network_path):
    result = run("generate", "--seeds", "0-5", "--grid", "4x2", *TINY, network_path)
    assert "out/grid.png" in result.stdout.split()
    grid = read_image("out/grid.png")
    assert grid.shape == (1, 3, 32, 64)
    assert torch.equal(grid[..., 16:, 16:32], read_image("out/seed0005.png"))
    assert grid[..., 16:, 32:].min() == 1


def test_saved_latents_remember_their_generator(run, network_path, network):
    run("generate", "--seeds", "5", "--save-latents", *TINY, network_path)
    latent = load_latent("out/seed0005.pt")
    assert latent.fingerprint == network.fingerprint
    assert latent.network == str(network_path)
    assert latent.names == ("seed0005",)


def test_json_replaces_the_paths(run, network_path):
    result = run("generate", "--seeds", "1", "--json", *TINY, network_path)
    assert json.loads(result.stdout)["results"] == ["seed0001.png"]


def test_classes_and_noise_reach_the_generator(run, class_network_path):
    pictures = []
    for extra in (["0"], ["1"], ["1", "--noise", "none"]):
        done = run("generate", "--seeds", "1", "--class", *extra, *TINY, class_network_path)
        assert done.exit_code == 0, done.output
        pictures.append(read_image("out/seed0001.png"))
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[1], pictures[2])


# StyleGAN3


@pytest.fixture(scope="module")
def alias_free_path(tmp_path_factory):
    """A 32-pixel StyleGAN3 of configuration R."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = StyleGAN3Generator(
            z_dim=16,
            w_dim=16,
            img_resolution=32,
            channel_base=512,
            channel_max=12,
            num_layers=6,
            conv_kernel=1,
            use_radial_filters=True,
        )
    path = tmp_path_factory.mktemp("networks") / "alias-free.safetensors"
    save_network(path, generator, provenance={})
    return path


def test_pictures_of_stylegan3_can_be_moved_and_turned(run, alias_free_path):
    pictures = []
    for extra in ([], ["--translate", "0.25,-0.125"], ["--rotate", "90"]):
        done = run("generate", "--seeds", "1", "--trunc", "1", *extra, *TINY, alias_free_path)
        assert done.exit_code == 0, done.output
        assert done.stderr == ""
        pictures.append(read_image("out/seed0001.png"))
    still, moved, turned = pictures
    step = 2 / 255 + 1e-6
    assert (moved[..., 4:-8, 12:-4] - still[..., 8:-4, 4:-12]).abs().max() <= step
    difference = turned - torch.rot90(still, 1, (2, 3))
    assert difference[..., 4:-4, 4:-4].abs().max() <= step


def test_a_kind_without_noise_maps_says_so_once_and_goes_on(run, alias_free_path):
    run("generate", "--seeds", "0-1", "--out", "const", *TINY, alias_free_path)
    for noise in ("random", "none"):
        done = run(
            *("generate", "--seeds", "0-1", "--noise", noise, "--save-latents", "--out", noise),
            *(*TINY, alias_free_path),
        )
        assert done.exit_code == 0, done.output
        assert len(done.stderr.splitlines()) == 1
        assert "no noise maps" in done.stderr
        assert load_latent(f"{noise}/seed0001.pt").noise is None
        assert torch.equal(read_image(f"{noise}/seed0001.png"), read_image("const/seed0001.png"))


def test_rotation_of_configuration_t_is_warned_about(run, tmp_path):
    path = tmp_path / "t.safetensors"
    generator = StyleGAN3Generator(w_dim=8, z_dim=8, img_resolution=16, channel_max=4, num_layers=3)
    save_network(path, generator, provenance={})
    done = run("generate", "--seeds", "0", "--rotate", "20", *TINY, path)
    assert done.exit_code == 0, done.output
    assert "configuration T" in done.stderr


def test_other_networks_cannot_be_moved(fails, network_path):
    for extra in (["--translate", "0.1,0"], ["--rotate", "-5"]):
        assert "only StyleGAN3" in fails("generate", "--seeds", "0", *extra, *TINY, network_path)


# Bad input


@pytest.mark.parametrize("translate", ["x", "1", "0,nan", "0,1,2", "0,inf", "99,0", ""])
def test_translations_that_do_not_parse_are_usage_errors(fails, translate):
    assert "translate" in fails("generate", "--translate", translate, code=2)


@pytest.mark.parametrize("rotate", ["x", "nan", "400"])
def test_rotations_that_do_not_parse_are_usage_errors(fails, rotate):
    fails("generate", "--rotate", rotate, code=2)


@pytest.mark.parametrize("seeds", ["x", "1-", "-3", "5-2", ""])
def test_seeds_that_do_not_parse_are_usage_errors(fails, seeds):
    assert "seeds" in fails("generate", "--seeds", seeds, code=2)
    assert not Path("out").exists()


@pytest.mark.parametrize("grid", ["4", "0x2", "1x1"])
def test_bad_grids_are_usage_errors(fails, grid):
    assert "grid" in fails("generate", "--seeds", "0-7", "--grid", grid, code=2)


def test_a_missing_network_is_one_line(fails):
    assert "nowhere" in fails("generate", "--network", "nowhere.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04evil", b"PK\x03\x04", b"\xff" * 100])
def test_a_file_that_is_no_network_is_one_line(fails, tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    assert "bad.safetensors" in fails("generate", "--network", path)


def test_an_unknown_device_is_one_line(fails, network_path):
    assert "quantum" in fails("generate", "--network", network_path, "--device", "quantum")


def test_a_missing_or_needless_class_is_one_line(fails, network_path, class_network_path):
    assert "class" in fails("generate", *TINY, class_network_path)
    assert "class" in fails("generate", "--class", "3", *TINY, class_network_path)
    assert "class" in fails("generate", "--class", "0", *TINY, network_path)


def test_an_output_folder_that_is_a_file_is_one_line(fails, network_path):
    Path("taken").touch()
    assert "taken: is a file" in fails("generate", "--out", "taken", *TINY, network_path)
    assert "file" in fails("generate", "--out", "taken/deeper", *TINY, network_path)


def test_an_output_folder_that_cannot_be_made_is_one_line(fails, network_path):
    assert "/proc" in fails("generate", "--out", "/proc/ganedit", *TINY, network_path)


def test_a_foreign_file_is_kept_unless_overwrite_is_given(run, fails, network_path):
    Path("out").mkdir()
    Path("out/seed0001.png").write_bytes(b"mine")
    line = fails("generate", "--seeds", "0-1", *TINY, network_path)
    assert "seed0001.png: not written by ganedit" in line
    assert sorted(path.name for path in Path("out").iterdir()) == ["seed0001.png"]
    assert Path("out/seed0001.png").read_bytes() == b"mine"
    assert run("generate", "--seeds", "0-1", "--overwrite", *TINY, network_path).exit_code == 0
    assert run("generate", "--seeds", "0-1", *TINY, network_path).exit_code == 0


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(fails, network_path, monkeypatch):
    def full(_path, _content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "no space left" in fails("generate", "--seeds", "0", *TINY, network_path)
    assert list(Path("out").iterdir()) == []


@pytest.mark.slow
def test_a_killed_run_leaves_whole_files_and_can_be_run_again(run, network_path):
    arguments = ["generate", "--seeds", "0-3000", *TINY, str(network_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "ganedit", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not Path("out/seed0003.png").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    for path in Path("out").glob("seed*.png"):
        assert read_image(path).shape == (1, 3, 16, 16)
    assert run("generate", "--seeds", "0-5", *TINY, network_path).exit_code == 0
