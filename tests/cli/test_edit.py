import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import typer

from ganedit.assets import Asset
from ganedit.checkpoints import load_network
from ganedit.checkpoints.tuning import save_tuning
from ganedit.cli.direction_specs import Spec, parse_direction
from ganedit.editing import sample, synthesize
from ganedit.editing.directions import (
    bind_directions,
    channel_change,
    direction_change,
    latent_axes,
)
from ganedit.io import Alignment, load_latent, read_image, save_latent, write_image
from ganedit.io.directions import Directions, save_directions
from tests.cli.test_hostile import FILES

SUFFIXES = ["-edited.pt", "-edited.png", "-comparison.png", "-slider.html"]


@pytest.fixture(scope="module")
def directions(network):
    """Three of the tiny network; the second moves two layers."""
    return Directions(
        vectors=torch.randn(3, 1, 16, generator=torch.Generator().manual_seed(0)),
        layers=((), (1, 4), ()),
        names=("smile", "yaw", "smile+age"),
        scales=torch.tensor([0.3, 0.4, 0.5]),
        fingerprint=network.fingerprint,
        network=network.home,
        method="fit",
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory, directions):
    path = tmp_path_factory.mktemp("directions") / "tiny.pt"
    save_directions(path, directions)
    return path


@pytest.fixture
def edit(run, file, network_path):
    """Edit heads of the tiny network by its directions."""
    options = ["--directions", file, "--network", network_path, "--device", "cpu"]
    return lambda *arguments: run("edit", *arguments, *options)


def change_of(path, start):
    return load_latent(path).ws - load_latent(start).ws


# What is asked for


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("smile=1.5", Spec("smile", None, 1.5)),
        ("smile", Spec("smile", None, 1)),
        ("smile+age=-2e0", Spec("smile+age", None, -2)),
        ("age.pt=2", Spec("", "age.pt", 2)),
        ("my=age.npy=2", Spec("", "my=age.npy", 2)),
        ("sefa.pt:3=-2", Spec("3", "sefa.pt", -2)),
        ("C:\\x\\sefa.pt:smile", Spec("smile", "C:\\x\\sefa.pt", 1)),
        ("b32.conv1.17=5", Spec("b32.conv1.17", None, 5)),
    ],
)
def test_a_direction_is_a_name_a_file_or_a_channel(text, spec):
    assert parse_direction(text) == spec


@pytest.mark.parametrize(
    "text",
    ["smile=nan", "smile=inf", "smile=-inf", "smile=101", "smile=", "smile=x", "=2", "", "a.pt:=1"],
)
def test_what_is_no_direction_is_bad_usage(fails, text):
    with pytest.raises(typer.BadParameter, match="direction"):
        parse_direction(text)
    assert "direction" in fails("edit", "--direction", text, code=2)


def test_latents_are_mapped_once_for_all_that_is_measured(edit, latent_paths, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "ganedit.editing.directions.latent_axes",
        lambda *given: calls.append(given) or latent_axes(*given),
    )
    for name in ("a.npy", "b.npy"):
        np.save(name, np.ones(16, np.float32))
    options = [x for one in ("a.npy", "b.npy", "b8.conv0.1", "smile") for x in ("--direction", one)]
    assert edit(latent_paths[0], *options).exit_code == 0
    assert len(calls) == 1


@pytest.mark.parametrize("options", [["3"], ["3", "--directions"], []])
def test_a_name_that_no_system_takes_is_one_line(fails, options):
    assert "a" * 20 in fails("edit", *options, "a" * 300, "--direction", "smile")


def test_zero_has_no_sign(edit, latent_paths):
    result = edit(latent_paths[0], "--direction", "smile=-0", "--sweep=-0,1", "--json")
    assert "-0.0" not in result.stdout


def test_embedded_directions_have_a_name(run):
    options = ["--directions", "clay-directions", "--direction", "smile"]
    result = run("edit", "3", *options, "--direction", "clay-directions:yaw=-1")
    assert result.exit_code == 0, result.output


def test_files_with_a_sign_in_their_name_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a=1.pt").touch()
    assert parse_direction("a=1.pt") == Spec("", "a=1.pt", 1)
    assert parse_direction("a=1.pt=2") == Spec("", "a=1.pt", 2)


# Edits


def test_names_files_and_channels_add_up(edit, file, directions, network, latent_paths):
    specs = ["smile=1.5", f"{file}:1=-2", "b8.conv0.3=4"]
    result = edit(latent_paths[0], "7", *(x for spec in specs for x in ("--direction", spec)))
    assert result.exit_code == 0, result.output
    names = [f"{name}{suffix}" for name in ("a", "seed0007") for suffix in SUFFIXES]
    assert result.stdout.split() == [f"out/{name}" for name in [*names, "run.json"]]
    moved = [direction_change(directions, i, x, num_ws=6).ws for i, x in ((0, 1.5), (1, -2.0))]
    torch.testing.assert_close(change_of("out/a-edited.pt", latent_paths[0]), sum(moved))
    expected = channel_change(network.generator, "b8.conv0", 3, 4.0).offsets
    latent = load_latent("out/a-edited.pt")
    for offset, wanted in zip(latent.offsets, expected, strict=True):
        torch.testing.assert_close(offset, wanted)
    write_image("again.png", next(synthesize(network, latent)))
    assert torch.equal(read_image("again.png"), read_image("out/a-edited.png"))
    assert "a: smile +1.5, yaw -2, b8.conv0.3 +4" in Path("out/a-slider.html").read_text()
    told = json.loads(Path("out/run.json").read_text())["directions"]
    assert [one["degree"] for one in told] == [1.5, -2, 4]
    assert told[1] | {"name": "yaw", "layers": [1, 4], "file": str(file)} == told[1]


def test_layers_move_instead_of_the_directions_own(edit, latent_paths):
    result = edit(latent_paths[0], "--direction", "yaw=2", "--layers", "0,3-4")
    assert result.exit_code == 0, result.output
    moved = change_of("out/a-edited.pt", latent_paths[0]).abs().amax(dim=(0, 2)).bool()
    assert moved.tolist() == [True, False, False, True, True, False]


def test_foreign_directions_are_measured_in_the_networks_deviations(run, network, network_path):
    boundary = np.random.default_rng(0).normal(size=(1, 16))
    np.save("age.npy", boundary)
    torch.save({"ckpt": "x.pt", "eigvec": torch.eye(16)}, "factor.pt")
    options = ["--direction", "age.npy=2", "--direction", "factor.pt:5=-1"]
    result = run("edit", "7", *options, "--network", network_path, "--device", "cpu")
    assert result.exit_code == 0, result.output
    expected = torch.zeros(1, 1, 16)
    for vectors, degree in ((torch.from_numpy(boundary), 2), (torch.eye(16)[5:6], -1)):
        alone = Directions(vectors[:, None].float(), ((),), ("0",))
        expected += degree * bind_directions(alone, network).scales[0] * alone.vectors
    start = sample(network, [7], truncation_psi=0.7).ws
    change = load_latent("out/seed0007-edited.pt").ws - start
    torch.testing.assert_close(change, expected.expand(1, 6, 16))


def test_a_sweep_is_a_sheet_whose_last_column_is_the_result(edit):
    result = edit("1-2", "--direction", "smile=2", "--sweep", "-3:3:7")
    assert result.exit_code == 0, result.output
    assert read_image("out/strip.png").shape[3] == 7 * 128
    record = json.loads(Path("out/run.json").read_text())
    assert record["strengths"] == [-3, -2, -1, 0, 1, 2, 3]
    strip = read_image("out/seed0001-strip.png")
    last = read_image("out/seed0001-edited.png").repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert torch.equal(strip[:, :, -128:, -128:], last)


def frames_of(path):
    with av.open(path) as video:
        return [frame.to_ndarray(format="rgb24").astype(float) for frame in video.decode(video=0)]


def test_a_video_of_a_sweep_goes_from_its_first_to_its_last(edit):
    options = ["--direction", "smile=9", "--video", "--fps", "10"]
    assert edit("3", *options, "--sweep", "-1:1:3").exit_code == 0
    swept = frames_of("out/seed0003-edit.mp4")
    assert edit("3", *options).exit_code == 0
    plain = frames_of("out/seed0003-edit.mp4")
    assert len(swept) == len(plain) == 29
    same, other = (abs(swept[index] - plain[index]).mean() for index in (14, 0))
    assert same < 0.3 * other


def test_no_latent_is_the_mean_face_of_the_directions_generator(run, file, network):
    result = run("edit", "--directions", file, "--direction", "0=0", "--device", "cpu")
    assert result.exit_code == 0, result.output
    latent = load_latent("out/mean-edited.pt")
    assert latent.fingerprint == network.fingerprint
    assert torch.allclose(latent.ws, network.generator.w_avg.expand_as(latent.ws))


def test_a_latent_of_another_network_decides(run, file, other_network_path, tmp_path):
    other = load_network(other_network_path, device="cpu")
    save_latent(tmp_path / "x.pt", sample(other, [1]))
    result = run("edit", tmp_path / "x.pt", "--direction", f"{file}:0")
    assert result.exit_code == 1
    assert "directions of " in result.stderr


def test_embedded_directions_serve_without_a_file(run, file, network_path, monkeypatch):
    asset = Asset("tiny-directions", file, file, "directions")
    monkeypatch.setattr("ganedit.editing.directions.embedded", lambda: {asset.name: asset})
    result = run("edit", "7", "--direction", "yaw", "--network", network_path)
    assert result.exit_code == 0, result.output


def test_a_class_of_a_conditional_network(run, class_network_path):
    options = ["--direction", "b8.conv0.3=4", "--network", class_network_path, "--class", "1"]
    result = run("edit", *options, "--device", "cpu")
    assert result.exit_code == 0, result.output


def test_a_tuning_and_a_place_in_a_photo_are_kept(edit, latents, latent_paths, network, tmp_path):
    const = network.generator.state_dict()["synthesis.b4.const"]
    save_tuning(
        tmp_path / "t.safetensors", {"synthesis.b4.const": torch.full_like(const, 0.1)}, network
    )
    photo = tmp_path / "photo.png"
    write_image(photo, torch.zeros(1, 3, 40, 40))
    place = Alignment(str(photo), (40, 40), ((4, 4), (4, 36), (36, 36), (36, 4)))
    save_latent(latent_paths[0], replace(latents[0], tuning="t.safetensors", alignment=(place,)))
    result = edit(latent_paths[0], "--direction", "smile", "--paste-back")
    assert result.exit_code == 0, result.output
    latent = load_latent("out/a-edited.pt")
    assert latent.alignment == (place,)
    assert (Path("out") / latent.tuning).is_file()
    assert read_image("out/a-edited-pasted.png").shape == (1, 3, 40, 40)


def test_a_clay_head_smiles_and_its_factors_are_told(run):
    result = run("edit", "3", "--direction", "smile=1.5", "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    (figures,) = json.loads(result.stdout)["results"]
    assert {"identity", "clay", "factors"} <= set(figures)
    assert figures["factors"]["smile"] > 0.05
    assert "seconds" not in figures
    assert f"{next(iter(figures['factors']))} " in result.stderr


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--direction", "smiel=1"], "there is no direction 'smiel'; near are smile"),
        (["--direction", "3=1"], "there is no direction 3; there are 3"),
        (["--direction", "b8.convo.3"], "no style layer b8.convo; near are b8.conv"),
        (["--direction", "b8.conv0.8"], "b8.conv0 has no channel 8, but 0 to 7"),
        (
            ["--direction", "smile", "--layers", "4-6"],
            "--layers: there is no layer 6; the last one is 5",
        ),
        (["--direction", "gone.pt=1"], "gone.pt: no such file"),
        (["--direction", "gone:3=1"], "gone: no such file"),
    ],
)
def test_what_is_not_there_is_one_line_and_nothing_is_written(fails, edit, arguments, told):
    result = edit("7", *arguments)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert told in line
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--direction", "smile", "--sweep", "nan:1:3"],
        ["--direction", "smile", "--sweep", "0:1:1000"],
        ["--direction", "smile", "--layers", "3-1"],
        ["--direction", "smile", "--fps", "10"],
        ["--direction", "smile", "--trunc", "0.5"],
        ["--direction", "b8.conv0.3"],  # names no direction of the file
        ["--direction", "FILE:0"],
    ],
)
def test_what_makes_no_sense_is_bad_usage(edit, file, arguments):
    result = edit(*(text.replace("FILE", str(file)) for text in arguments))
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not Path("out").exists()


def test_a_channel_has_its_own_layer(fails, network_path):
    options = ["--direction", "b8.conv0.3", "--layers", "0", "--network", network_path]
    assert "--layers is for directions of w" in fails("edit", *options, code=2)


def test_which_of_a_files_directions_must_be_said(edit, file):
    result = edit("7", "--direction", f"{file}=2")
    assert f"holds 3 directions (smile, yaw, smile+age); say which, as {file}:0" in result.stderr


def test_without_directions_the_line_says_how_to_get_some(fails, network_path):
    line = fails("edit", "7", "--direction", "smile", "--network", network_path)
    assert "ganedit factorize" in line


def test_directions_of_another_generator_are_one_line(fails, file, other_network_path):
    options = ["--direction", f"{file}:0", "--network", other_network_path]
    assert "directions of " in fails("edit", "7", *options)
    options[-1] = "clay"
    assert "directions of " in fails("edit", *options)


def test_a_generator_that_would_have_to_be_fetched_is_not(fails, directions, tmp_path):
    path = tmp_path / "a.pt"
    save_directions(path, replace(directions, network="https://example.org/x.pkl"))
    line = fails("edit", "--direction", f"{path}:0")
    assert "https://example.org/x.pkl, is not on this machine; name it with --network" in line
    for gone in ("/gone/x.pkl", "../x.pkl"):
        save_directions(path, replace(directions, network=gone))
        line = fails("edit", "--direction", f"{path}:0")
        assert f"{gone}, is not on this machine; name it with --network" in line


def test_a_photo_or_a_latent_in_the_wrong_place_is_one_line(fails, file, latent_paths, tmp_path):
    write_image(tmp_path / "photo.png", torch.zeros(1, 3, 8, 8))
    line = fails("edit", tmp_path / "photo.png", "--direction", f"{file}:0")
    assert "project it first: ganedit project" in line
    assert "holds latents, not directions" in fails("edit", "--direction", f"{latent_paths[0]}=1")
    assert "holds directions, not latents" in fails("edit", file, "--direction", f"{file}:0")
    file.with_name("cut.pt").write_bytes(file.read_bytes()[:-200])
    assert "broken or incomplete" in fails("edit", "--direction", f"{file.with_name('cut.pt')}:0")


@pytest.mark.parametrize("kind", FILES)
def test_a_hostile_file_is_one_line_and_leaves_nothing(fails, tmp_path, kind):
    path = tmp_path / "bad.pt"
    path.write_bytes(FILES[kind][0])
    line = fails("edit", "--directions", path, "--direction", "smile")
    assert line.startswith(f"error: {path}: ")
    assert len(line.removeprefix(f"error: {path}")) < 300
    assert list(Path.cwd().iterdir()) == []


def test_an_edit_beyond_all_pictures_is_one_line(fails, directions, network_path, tmp_path):
    far = replace(directions, vectors=directions.vectors * 1e38)
    save_directions(tmp_path / "far.pt", far)
    options = ["--direction", f"{tmp_path}/far.pt:0=100", "--network", network_path]
    assert "beyond what the generator can draw" in fails("edit", "7", *options)
