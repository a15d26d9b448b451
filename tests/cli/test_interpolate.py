import json
import pickle
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from ganedit.editing import sample, synthesize
from ganedit.io import latents as latent_files
from ganedit.io import load_latent, read_image, save_latent, write_image


def frame_count(path: str) -> int:
    with av.open(path) as container:
        return sum(1 for _ in container.decode(video=0))


def test_latents_bring_their_own_generator(run, latent_paths):
    result = run("interpolate", *latent_paths[:2], "--frames", "6", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["out/interpolation.mp4", "out/run.json"]
    assert frame_count("out/interpolation.mp4") == 6


def test_every_form_is_written_when_asked(run, latent_paths):
    forms = ["--video", "--gif", "--strip", "--save-latents", "--mode", "slerp", "--loop"]
    result = run("interpolate", *latent_paths, "--frames", "5", *forms, "--easing", "smooth")
    assert result.exit_code == 0, result.output
    assert frame_count("out/interpolation.mp4") == 12
    with Image.open("out/interpolation.gif") as picture:
        assert picture.n_frames == 12
    assert read_image("out/interpolation-strip.png").shape == (1, 3, 16, 9 * 16)
    assert len(load_latent("out/interpolation.pt")) == 12
    record = json.loads(Path("out/run.json").read_text())
    assert record["frames"] == 12
    assert record["arguments"]["easing"] == "smooth"


def test_the_strip_begins_and_ends_with_the_latents(run, latent_paths, latents, network):
    run("interpolate", *latent_paths[:2], "--frames", "3", "--strip", "--device", "cpu")
    strip = read_image("out/interpolation-strip.png")
    for index, latent in ((0, latents[0]), (2, latents[1])):
        write_image("end.png", next(synthesize(network, latent)))
        expected = read_image("end.png")
        shown = strip[..., 16 * index : 16 * index + 16]
        assert (shown - expected).abs().max() <= 1 / 127 + 1e-6


def test_saved_ends_are_the_latents_to_the_bit(run, latent_paths, latents):
    run("interpolate", *latent_paths, "--frames", "4", "--gif", "--save-latents")
    path = load_latent("out/interpolation.pt")
    for index, latent in enumerate(latents):
        assert torch.equal(path.ws[3 * index], latent.ws[0])


def test_weights_make_one_picture(run, latent_paths, latents):
    result = run("interpolate", *latent_paths, "--weights", "0.5,0.3,0.2", "--device", "cpu")
    names = ["combination.png", "combination.pt", "run.json"]
    assert result.stdout.split() == [f"out/{name}" for name in names]
    expected = sum(w * k.ws for w, k in zip((0.5, 0.3, 0.2), latents, strict=True))
    torch.testing.assert_close(load_latent("out/combination.pt").ws, expected)


def test_seeds_stand_for_what_generate_makes_of_them(run, network_path, network):
    arguments = ["--network", network_path, "--frames", "2", "--save-latents", "--strip"]
    result = run("interpolate", "3", "42", *arguments, "--trunc", "0.5", "--device", "cpu")
    assert result.exit_code == 0, result.output
    path = load_latent("out/interpolation.pt")
    torch.testing.assert_close(path.ws, sample(network, [3, 42], truncation_psi=0.5).ws)


def test_a_projected_latent_keeps_its_noise_beside_a_seed(run, network, tmp_path):
    photo, seed = sample(network, [1], noise="random"), sample(network, [42], truncation_psi=0.7)
    save_latent(tmp_path / "photo.pt", photo)
    result = run("interpolate", tmp_path / "photo.pt", "42", "--frames", "3", "--save-latents")
    assert result.exit_code == 0, result.output
    path = load_latent("out/interpolation.pt")
    for frame, end in ((0, photo), (2, seed)):
        shown, expected = (next(synthesize(network, one)) for one in (path.row(frame), end))
        assert torch.equal(shown, expected)


def test_seeds_of_a_conditional_network_take_a_class(run, fails, class_network_path, latent_paths):
    arguments = ["1", "2", "--network", class_network_path, "--frames", "2", "--strip"]
    assert "--class" in fails("interpolate", *arguments)
    assert run("interpolate", *arguments, "--class", "2").exit_code == 0
    assert "--class is for seeds" in fails("interpolate", *latent_paths, "--class", "2")


# Bad input


def test_one_latent_is_not_enough(fails, latent_paths):
    assert "two or more" in fails("interpolate", latent_paths[0])


def test_no_latent_is_a_usage_error(fails):
    assert "LATENT" in fails("interpolate", code=2)


@pytest.mark.parametrize("weights", ["nan,1,0", "inf,-inf,0", "1e308,1e308,-1e308"])
def test_weights_beyond_reason_are_one_line(fails, latent_paths, weights):
    assert "weights must be numbers" in fails("interpolate", *latent_paths, "--weights", weights)


@pytest.mark.parametrize("weights", ["0.5,0.3,0.1", "1,1,1"])
def test_weights_that_do_not_sum_to_one_are_one_line(fails, latent_paths, weights):
    assert "sum to 1" in fails("interpolate", *latent_paths, "--weights", weights)


def test_weights_of_the_wrong_number_are_one_line(fails, latent_paths):
    assert "3 latents need 3 weights" in fails("interpolate", *latent_paths, "--weights", "1,0")


@pytest.mark.parametrize("weights", ["a,b", ""])
def test_senseless_weights_are_usage_errors(fails, latent_paths, weights):
    assert "weights" in fails("interpolate", *latent_paths[:2], "--weights", weights, code=2)


@pytest.mark.parametrize(
    "ignored", [["--loop"], ["--frames", "60"], ["--mode", "lerp"], ["--easing", "in"], ["--gif"]]
)
def test_what_weights_would_ignore_is_a_usage_error(fails, latent_paths, ignored):
    line = fails("interpolate", *latent_paths[:2], "--weights", "0.5,0.5", *ignored, code=2)
    assert f"leave out {ignored[0]} " in line


@pytest.mark.parametrize("trunc", ["nan", "inf", "-11"])
def test_endless_truncation_is_a_usage_error(fails, trunc):
    assert "trunc" in fails("interpolate", "1", "2", "--trunc", trunc, code=2)


def test_endless_paths_and_latent_files_are_refused_before_work(fails, network_path, monkeypatch):
    arguments = ["interpolate", "0-30", "--network", network_path, "--frames", "10000"]
    assert "299971 frames is too long" in fails(*arguments)
    monkeypatch.setattr(latent_files, "MAX_BYTES", 2**20)
    arguments = ["interpolate", "0-10", "--network", network_path, "--frames", "1000"]
    assert "too large for a latent file" in fails(*arguments, "--save-latents")
    assert list(Path("out").iterdir()) == []


@pytest.mark.parametrize("frames", ["0", "1", "-5", "many"])
def test_too_few_frames_are_usage_errors(fails, latent_paths, frames):
    assert "frames" in fails("interpolate", *latent_paths, "--frames", frames, code=2)


class Evil:
    def __reduce__(self):
        return Path.mkdir, (Path("trap"),)


def test_files_that_are_no_latents_are_one_line(fails, latent_paths, latents, tmp_path):
    good, bad = latent_paths[0], tmp_path / "bad.pt"
    nan = {
        "format": "ganedit-latent",
        "version": 1,
        "ws": torch.full_like(latents[0].ws, torch.nan),
        "space": "w",
        "generator": {"fingerprint": latents[0].fingerprint, "network": latents[0].network},
    }
    torch.save(nan, tmp_path / "nan.pt")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")
    cases = {
        b"": "empty",
        b"hello": "not a latent",
        pickle.dumps(Evil()): "refused, it asks for pathlib.Path.mkdir",
        good.read_bytes()[:500]: "broken",
        (tmp_path / "nan.pt").read_bytes(): "NaN",
        (tmp_path / "other.pt").read_bytes(): "1 vector of 3, but",
    }
    for content, reason in cases.items():
        bad.write_bytes(content)
        assert reason in fails("interpolate", good, bad)
    assert "no such file" in fails("interpolate", good, "absent.pt")
    assert not Path("trap").exists()


def test_latents_of_another_generator_are_one_line(
    fails, latent_paths, other_network_path, wide_network_path, latents, tmp_path
):
    line = fails("interpolate", *latent_paths, "--network", other_network_path)
    assert "a.pt: made with another generator" in line
    line = fails("interpolate", *latent_paths, "--network", wide_network_path)
    assert "a.pt: its shape is" in line
    stranger = tmp_path / "stranger.pt"
    save_latent(stranger, replace(latents[0], fingerprint="sha256:" + 64 * "0"))
    assert "another generator" in fails("interpolate", latent_paths[0], stranger)
    short = tmp_path / "short.pt"
    save_latent(short, replace(latents[0], ws=latents[0].ws[:, :3]))
    assert "short.pt: its shape is 3x16" in fails("interpolate", latent_paths[0], short)


def test_a_lost_generator_is_one_line_and_can_be_named(run, fails, latents, network_path, tmp_path):
    paths = [tmp_path / name for name in ("a.pt", "b.pt")]
    for path, latent in zip(paths, latents, strict=False):
        save_latent(path, replace(latent, network="gone.safetensors"))
    assert "name it with --network" in fails("interpolate", *paths)
    named = ["--network", network_path, "--frames", "2", "--strip"]
    assert run("interpolate", *paths, *named).exit_code == 0


# Latents of other projects, and networks from elsewhere


def test_latents_of_others_need_a_network_and_are_bound_to_it(run, fails, network_path, network):
    ws = sample(network, [1, 2]).ws
    np.savez("a.npz", w=ws[:1].numpy())
    torch.save({"photo.png": {"latent": ws[1, 0]}}, "b.pt")
    line = fails("interpolate", "a.npz", "b.pt")
    assert "a.npz: a latent that ganedit did not write" in line
    assert "name it with --network" in line
    options = ["--frames", "2", "--gif", "--save-latents", "--device", "cpu"]
    result = run("interpolate", "a.npz", "b.pt", "--network", network_path, *options)
    assert result.exit_code == 0, result.output
    assert "a.npz: a numpy archive, 1 latent, a vector for each of 6 layers" in result.stderr
    path = load_latent("out/interpolation.pt")
    torch.testing.assert_close(path.ws, ws)
    assert path.fingerprint == network.fingerprint


def test_a_latent_of_ours_names_the_generator_for_those_of_others(run, latent_paths, network):
    torch.save(torch.zeros(1, network.generator.num_ws, 16), "a.pt")
    result = run("interpolate", "a.pt", latent_paths[0], "--frames", "2", "--gif")
    assert result.exit_code == 0, result.output


def test_a_latent_of_another_shape_says_both(fails, network_path):
    np.save("latent.npy", np.zeros((18, 512), np.float32))
    line = fails("interpolate", "latent.npy", "3", "--network", network_path)
    assert "latent.npy: 18 vectors of 512, but" in line
    assert "takes 6 of 16" in line


def test_what_a_latent_names_is_never_fetched(fails, latents, tmp_path, monkeypatch):
    monkeypatch.setenv("GANEDIT_CACHE", str(tmp_path / "cache"))
    save_latent("a.pt", replace(latents[0], network="https://example.org/net.pkl"))
    line = fails("interpolate", "a.pt", "3")
    assert "https://example.org/net.pkl is not on this machine" in line
    assert "name it with --network" in line
