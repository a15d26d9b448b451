import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
import typer

from ganedit.checkpoints import load_network, save_mapper
from ganedit.checkpoints.tuning import load_tuning, save_tuning
from ganedit.cli.edit_report import describe_factors
from ganedit.cli.edit_results import Edit, draw, parse_strengths, there_and_back
from ganedit.cli.heads import Heads
from ganedit.editing import sample, synthesize
from ganedit.editing.changes import Change
from ganedit.encoders import LevelsMapper
from ganedit.errors import GaneditError
from ganedit.io import Alignment, load_latent, read_image, save_latent, write_image

SUFFIXES = ["-edited.pt", "-edited.png", "-comparison.png", "-slider.html"]
QUICK = ["--clip", "clay-clip", "--device", "cpu"]


def make_mapper(path, network, *, prompt="smile face"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = network.generator.num_ws, network.generator.w_dim
        mapper = LevelsMapper(num_ws=shape[0], w_dim=shape[1])
    settings = {"prompt": prompt, "fingerprint": network.fingerprint, "provenance": {}}
    save_mapper(path, mapper, **settings)
    return path


@pytest.fixture(scope="module")
def mapper_path(tmp_path_factory, network):
    return make_mapper(tmp_path_factory.mktemp("mappers") / "mapper.safetensors", network)


@pytest.fixture
def map_(run, mapper_path, network_path):
    """Run the quickest method on the tiny network."""

    def invoke(*arguments):
        options = ["--method", "mapper", "--mapper", mapper_path, "--network", network_path]
        return run("clip-edit", *arguments, *options, *QUICK)

    return invoke


# Every method


def test_a_mapper_edits_latents_and_seeds(map_, latent_paths, network):
    result = map_(latent_paths[0], "7", "--strength", "3", "--prompt", "smile face")
    assert result.exit_code == 0, result.output
    names = [f"{name}{suffix}" for name in ("a", "seed0007") for suffix in SUFFIXES]
    assert result.stdout.split() == [f"out/{name}" for name in [*names, "run.json"]]
    latent = load_latent("out/a-edited.pt")
    assert (latent.space, latent.names) == ("w+", ("a-edited",))
    assert not torch.equal(latent.ws, load_latent(latent_paths[0]).ws)
    write_image("again.png", next(synthesize(network, latent)))
    assert torch.equal(read_image("again.png"), read_image("out/a-edited.png"))
    assert read_image("out/a-comparison.png").shape[3] == 2 * 256
    assert "a: smile face" in Path("out/a-slider.html").read_text()
    assert "CLIP before" in result.stderr


@pytest.fixture
def optimise(run, network_path, monkeypatch):
    """Run the default method on the tiny network, which would otherwise be measured at length."""
    monkeypatch.setattr("ganedit.editing.clip_edit._SAMPLED_PIXELS", 32 * 16**2)
    options = ["--network", network_path, "--prompt", "smile face", "--steps", "2", *QUICK]
    return lambda *arguments: run("clip-edit", *arguments, *options)


@pytest.mark.parametrize("space", ["w+", "s"])
def test_latents_are_optimised(optimise, latent_paths, space, network):
    result = optimise(*latent_paths, "--space", space, "--neutral", "face")
    assert result.exit_code == 0, result.output
    assert "ArcFace's weights are not at hand" in result.stderr
    for path in latent_paths:
        start, latent = load_latent(path), load_latent(f"out/{path.stem}-edited.pt")
        assert torch.equal(latent.ws, start.ws) == (space == "s")
        assert (latent.offsets is None) == (space == "w+")
        write_image("again.png", next(synthesize(network, latent)))
        assert torch.equal(read_image("again.png"), read_image(f"out/{path.stem}-edited.png"))


def test_only_the_given_layers_change(optimise, latent_paths):
    result = optimise(latent_paths[0], "--layers", "1-2,5")
    assert result.exit_code == 0, result.output
    change = load_latent("out/a-edited.pt").ws - load_latent(latent_paths[0]).ws
    assert change.abs().amax(dim=(0, 2)).bool().tolist() == [False, True, True, False, False, True]


def test_a_mask_keeps_its_white_part(optimise, network, latent_paths):
    mask = -torch.ones(1, 3, 16, 16)
    mask[:, :, :, 8:] = 1
    write_image("mask.png", mask)
    before = next(synthesize(network, load_latent(latent_paths[0])))
    moved = []
    for options in ([], ["--mask", "mask.png"]):
        strong = ["--lr", "0.3", "--latent-weight", "0", *options]
        result = optimise(latent_paths[0], *strong)
        assert result.exit_code == 0, result.output
        moved.append(read_image("out/a-edited.png") - before)
    free, kept = (x[..., 8:].square().mean() / x[..., :8].square().mean() for x in moved)
    assert kept < free


def test_one_direction_serves_all_and_is_measured_once(run, network_path, tmp_path, monkeypatch):
    monkeypatch.setenv("GANEDIT_CACHE", str(tmp_path / "cache"))
    options = ["--method", "global", "--network", network_path, "--prompt", "smile face", *QUICK]
    kept = []
    for settings in ([], ["--alpha", "2"], ["--alpha", "2", "--beta", "0.01"]):
        result = run("clip-edit", "1-2", *options, *settings)
        assert result.exit_code == 0, result.output
        (path,) = (tmp_path / "cache" / "relevance").iterdir()
        kept.append((path, path.stat().st_mtime_ns))
    assert len(set(kept)) == 1
    first, second = (load_latent(f"out/seed000{n}-edited.pt") for n in (1, 2))
    assert all(map(torch.equal, first.offsets, second.offsets))
    start = sample(load_network(network_path), [1], truncation_psi=0.7)
    torch.testing.assert_close(first.ws, start.ws)
    assert "--beta" in run("clip-edit", "1", *options, "--beta", "0.999").stderr


def test_the_head_of_the_example_smiles(run):
    result = run("clip-edit", "--prompt", "smile face", "--steps", "5", "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    (figures,) = json.loads(result.stdout)["results"]
    assert figures["clip_after"] > figures["clip_before"]
    assert "factors that moved" in result.stderr


# Strengths


def test_strength_scales_the_edit_and_0_leaves_the_head(map_, latent_paths):
    start = load_latent(latent_paths[0]).ws
    changes = {}
    for strength in ("0", "1", "-2"):
        assert map_(latent_paths[0], "--strength", strength).exit_code == 0
        changes[strength] = load_latent("out/a-edited.pt").ws - start
    assert not changes["0"].any()
    torch.testing.assert_close(changes["-2"], -2 * changes["1"], rtol=1e-3, atol=1e-6)


def test_a_sweep_draws_strips_and_its_last_strength_is_the_result(map_):
    result = map_("1-2", "--strength", "-4:4:5")
    assert result.exit_code == 0, result.output
    assert read_image("out/strip.png").shape[3] == 5 * 128
    strip, table = (read_image(f"out/{name}") for name in ("seed0001-strip.png", "strip.png"))
    assert table.shape[2] == 2 * strip.shape[2]
    record = json.loads(Path("out/run.json").read_text())
    assert record["strengths"] == [-4, -2, 0, 2, 4]
    for figures in record["results"]:
        assert figures["strength"] == 4
        assert [one["strength"] for one in figures["sweep"]] == record["strengths"]
        assert figures["sweep"][2]["clip_after"] == figures["clip_before"]
    last = read_image("out/seed0001-edited.png").repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert torch.equal(strip[:, :, -128:, -128:], last)


@pytest.mark.parametrize(
    ("text", "values"),
    [("1", (1,)), ("-0.5", (-0.5,)), ("0,1,3", (0, 1, 3)), ("-1:1:3", (-1, 0, 1))],
)
def test_strengths_are_a_number_a_list_or_a_range(text, values):
    assert parse_strengths(text) == values


@pytest.mark.parametrize(
    "text", ["", "a", "nan", "inf", "-inf", "1e9", "0:1", "0:1:1", "0:1:9999999", "0:nan:3", "1,,2"]
)
def test_what_is_no_strength_is_refused(text):
    with pytest.raises(typer.BadParameter, match="strength"):
        parse_strengths(text)


def test_a_strength_that_is_not_finite_is_one_line(fails):
    for text in ("nan", "inf", "1,-inf"):
        assert "strength" in fails("clip-edit", "--prompt", "smile", "--strength", text, code=2)


def test_a_video_goes_there_and_back(map_):
    assert map_("3", "--video", "--fps", "10", "--strength", "4").exit_code == 0
    with av.open("out/seed0003-edit.mp4") as video:
        frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in video.decode(video=0)]
    assert len(frames) == 29
    there = abs(frames[0] - frames[14]).mean()
    assert abs(frames[0] - frames[-1]).mean() < 0.3 * there


def test_a_video_rests_at_both_ends():
    strengths = list(there_and_back(2.0, 11))
    assert strengths == sorted(strengths[:11]) + sorted(strengths[11:], reverse=True)
    assert (strengths[0], strengths[10]) == (0, 2)
    assert math.isclose(strengths[-1], 0, abs_tol=1e-9)
    assert strengths[1] < 0.1


# What is edited


def test_no_latent_is_the_mean_face(map_, network):
    assert map_("--strength", "0").exit_code == 0
    latent = load_latent("out/mean-edited.pt")
    assert torch.allclose(latent.ws, network.generator.w_avg.expand_as(latent.ws))


def test_a_seed_is_its_own_head(map_, network):
    assert map_("--seed", "5", "--strength", "0", "--trunc", "0.4").exit_code == 0
    latent = load_latent("out/seed0005-edited.pt")
    assert torch.equal(latent.ws, sample(network, [5], truncation_psi=0.4).ws)


def test_rows_of_a_file_are_edited_together(map_, tmp_path, network):
    save_latent(tmp_path / "many.pt", sample(network, [1, 2]))
    result = map_(tmp_path / "many.pt")
    assert result.exit_code == 0, result.output
    assert Path("out/many-0-edited.pt").exists()
    assert Path("out/many-1-edited.pt").exists()


def test_the_names_in_a_file_choose_no_path(map_, tmp_path, network):
    latent = replace(sample(network, [1]), names=("../../elsewhere",))
    save_latent(tmp_path / "x.pt", latent)
    result = map_(tmp_path / "x.pt")
    assert result.exit_code == 0, result.output
    assert Path("out/x-edited.pt").exists()


def test_two_of_one_name_are_refused(map_, latent_paths, tmp_path):
    (tmp_path / "more").mkdir()
    other = shutil.copy(latent_paths[0], tmp_path / "more" / "a.pt")
    result = map_(latent_paths[0], other)
    assert result.exit_code == 1
    assert "both would be written to out/a-edited.pt" in result.stderr
    assert "both would be" in map_("7", "5-9").stderr


def test_a_photo_is_told_how_to_become_a_latent(fails, tmp_path):
    write_image(tmp_path / "my photo.png", torch.zeros(1, 3, 8, 8))
    line = fails("clip-edit", tmp_path / "my photo.png", "--prompt", "smile")
    assert f"project it first: ganedit project '{tmp_path}/my photo.png'" in line


def test_a_seed_beside_latents_is_refused(fails, latent_paths):
    line = fails("clip-edit", latent_paths[0], "--seed", "3", "--prompt", "smile", code=2)
    assert "--seed" in line


def test_a_class_is_for_conditional_networks(run, fails, class_network_path, tmp_path):
    network = load_network(class_network_path, device="cpu")
    mapper = make_mapper(tmp_path / "mapper.safetensors", network)
    options = ["--method", "mapper", "--mapper", mapper, "--network", class_network_path, *QUICK]
    assert "class" in fails("clip-edit", *options)
    result = run("clip-edit", *options, "--class", "1")
    assert result.exit_code == 0, result.output


def test_a_tuning_and_a_place_in_a_photo_are_kept(map_, latents, latent_paths, network, tmp_path):
    const = network.generator.state_dict()["synthesis.b4.const"]
    changes = {"synthesis.b4.const": torch.full_like(const, 0.1)}
    save_tuning(tmp_path / "a-tuning.safetensors", changes, network)
    photo = tmp_path / "photo.png"
    write_image(photo, torch.zeros(1, 3, 40, 40))
    place = Alignment(str(photo), (40, 40), ((4, 4), (4, 36), (36, 36), (36, 4)))
    tuned = replace(latents[0], tuning="a-tuning.safetensors", alignment=(place,))
    save_latent(latent_paths[0], tuned)
    result = map_(latent_paths[0], latent_paths[1], "--paste-back")
    assert result.exit_code == 0, result.output
    latent = load_latent("out/a-edited.pt")
    assert latent.alignment == (place,)
    assert load_latent("out/b-edited.pt").alignment == ()
    assert load_tuning(f"out/{latent.tuning}")
    pasted = read_image("out/a-edited-pasted.png")
    assert pasted.shape == (1, 3, 40, 40)
    assert not torch.equal(pasted, read_image(photo))
    assert not Path("out/b-edited-pasted.png").exists()


def test_pasting_needs_a_place(map_, latent_paths):
    result = map_(latent_paths[0], "--paste-back")
    assert result.exit_code == 1
    assert "--paste-back: none of these latents" in result.stderr


def test_an_edited_latent_can_be_edited_again(map_, latent_paths):
    assert map_(latent_paths[0]).exit_code == 0
    result = map_("out/a-edited.pt")
    assert result.exit_code == 0, result.output
    assert Path("out/a-edited-edited.pt").exists()


# Words


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("🙂🙃", "knows none of these words"),
        ("xylophone", "knows none of these words"),
        ("smile:nan", "weight"),
        ("smile:0", "weight"),
        ("smile:inf", "weight"),
    ],
)
def test_a_prompt_that_says_nothing_is_one_line(fails, prompt, told):
    assert told in fails("clip-edit", "--prompt", prompt, "--device", "cpu")


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("smile " * 2000, "reads the first"),
        ("a smiling xylophone", "does not know 'xylophone'"),
        ("smile 🙂", "does not know"),
        ("smile face\nwith glasses\x00", None),
        ("smile \udcff face", None),
        ("a smile <script>alert(1)</script>", "does not know"),
    ],
    ids=["long", "unknown", "emoji", "control", "bytes", "script"],
)
def test_an_odd_prompt_is_read_as_far_as_it_goes(map_, prompt, told):
    result = map_("3", "--prompt", prompt, "--json")
    assert result.exit_code == 0, result.output
    if told:
        assert told in result.stderr
        assert result.stderr.splitlines()[0].startswith("warning: ")
    record = json.loads(result.stdout)
    assert record["arguments"]["prompt"] == [prompt]
    assert "<script>alert" not in Path("out/seed0003-slider.html").read_text()


def test_several_prompts_count_by_their_weights(map_):
    result = map_("3", "--prompt", "smile face:3", "--prompt", "glasses:-1", "--json")
    assert result.exit_code == 0, result.output
    assert "seed0003: smile face:3, glasses:-1" in Path("out/seed0003-slider.html").read_text()
    one, other, both = (
        json.loads(map_("3", *words, "--json").stdout)["results"][0]["clip_before"]
        for words in (
            ("--prompt", "smile face"),
            ("--prompt", "glasses"),
            ("--prompt", "smile face:3", "--prompt", "glasses:-1"),
        )
    )
    assert both == pytest.approx(0.75 * one - 0.25 * other, abs=2e-4)


def test_a_mapper_says_its_own_prompt(map_):
    record = json.loads(map_("3", "--json").stdout)
    assert record["clip"] == "clay-clip"
    assert record["results"][0]["clip_after"] is not None
    assert "seed0003: smile face" in Path("out/seed0003-slider.html").read_text()


def test_a_mapper_edits_without_a_clip(run, mapper_path, network_path):
    options = ["--method", "mapper", "--mapper", mapper_path, "--network", network_path]
    result = run("clip-edit", "3", *options, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    assert "no CLIP scores: ViT-B-32:openai: its weights are not on this" in result.stderr
    assert json.loads(result.stdout)["results"][0]["clip_after"] is None


def test_a_network_that_is_not_clay_needs_a_real_clip(fails, network_path):
    line = fails("clip-edit", "--prompt", "smile", "--network", network_path)
    assert "--clip-download" in line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--clip", "ViT-B-23"], "did you mean ViT-B-32"),
        (["--clip", "ViT-B-32:openia"], "openai"),
        (["--clip", "nowhere.safetensors"], "no such file"),
        (["--clip", "clay-clip", "--clip-weights", "x.pt"], "brings its own"),
        (["--clip-weights", "x.pt"], "x.pt: no such file"),
        (["--clip", "clay-clip", "--clip-preprocess", "reference"], "reads 64 pixels"),
    ],
)
def test_a_clip_that_cannot_be_had_is_one_line(fails, options, told):
    assert told in fails("clip-edit", "--prompt", "smile", *options)


# Options


@pytest.mark.parametrize(
    "arguments",
    [
        ["--method", "optimize"],
        ["--method", "global"],
        ["--method", "mapper", "--prompt", "smile"],
        ["--prompt", "smile", "--alpha", "3"],
        ["--prompt", "smile", "--beta", "0.1"],
        ["--prompt", "smile", "--mapper", "a.pt"],
        ["--prompt", "smile", "--fps", "10"],
        ["--prompt", "smile", "--lr", "nan"],
        ["--prompt", "smile", "--latent-weight", "inf"],
        ["--prompt", "smile", "--identity-weight", "-1"],
        ["--prompt", "smile", "--layers", "3-1"],
        ["--prompt", "smile", "--method", "global", "--space", "s"],
        ["--prompt", "smile", "--method", "global", "--mask", "a.png"],
        ["--prompt", "smile", "--method", "global", "--alpha", "nan"],
        ["--method", "mapper", "--mapper", "a.pt", "--neutral", "face"],
        ["--method", "mapper", "--mapper", "a.pt", "--steps", "3"],
    ],
)
def test_what_does_not_belong_together_is_bad_usage(fails, arguments):
    fails("clip-edit", *arguments, code=2)


def test_a_layer_that_does_not_exist_is_one_line(fails, network_path):
    options = ["--prompt", "smile", "--network", network_path, *QUICK]
    assert "0 to 5" in fails("clip-edit", *options, "--layers", "3-6")


def test_a_mask_that_is_no_picture_is_one_line(fails, latent_paths, tmp_path):
    options = ["--prompt", "smile", "--device", "cpu", "--mask"]
    assert "no such file" in fails("clip-edit", *options, tmp_path / "gone.png")
    assert "a.pt" in fails("clip-edit", *options, latent_paths[0])


def test_a_mapper_of_another_generator_is_one_line(
    fails, mapper_path, other_network_path, tmp_path
):
    options = ["--method", "mapper", "--mapper", mapper_path, "--network"]
    assert "mapper" in fails("clip-edit", *options, other_network_path, *QUICK)
    assert "for 6 latents" in fails("clip-edit", *options, "clay")
    options = ["--method", "mapper", "--mapper"]
    assert "no such file" in fails("clip-edit", *options, tmp_path / "gone.pt")


# Files


def test_a_second_run_replaces_its_own_results(map_):
    assert map_("3").exit_code == 0
    assert map_("3").exit_code == 0
    Path("out/seed0003-edited.png").write_bytes(b"mine")
    assert map_("3").exit_code == 1
    assert Path("out/seed0003-edited.png").read_bytes() == b"mine"
    assert map_("3", "--overwrite").exit_code == 0


def test_inputs_are_never_replaced(map_, latents):
    Path("out").mkdir()
    save_latent("out/a.pt", latents[0])
    assert map_("out/a.pt").exit_code == 0
    assert torch.equal(load_latent("out/a.pt").ws, latents[0].ws)
    result = map_("out/a.pt", "out/a-edited.pt", "--overwrite")
    assert result.exit_code == 1
    assert "is an input and would be replaced" in result.stderr


# Reports


def test_the_record_says_what_the_edit_did(map_):
    record = json.loads(map_("3", "--json").stdout)
    (figures,) = record["results"]
    assert {"name", "strength", "clip_before", "clip_after", "identity", "seconds"} <= set(figures)
    assert json.loads(Path("out/run.json").read_text())["results"] == record["results"]


def test_of_clay_heads_the_factors_are_told(run, tmp_path):
    mapper = make_mapper(tmp_path / "mapper.safetensors", load_network("clay", device="cpu"))
    options = ["--method", "mapper", "--mapper", mapper, "--device", "cpu", "--json"]
    result = run("clip-edit", "3", *options, "--strength", "0,5")
    assert result.exit_code == 0, result.output
    (figures,) = json.loads(result.stdout)["results"]
    still, moved = figures["sweep"]
    assert (still["identity"], still["clay"], max(still["factors"].values())) == (1, 0, 0)
    assert moved["identity"] < 0.99
    assert moved["clay"] > 0.05
    sizes = [abs(value) for value in moved["factors"].values()]
    assert sizes == sorted(sizes, reverse=True)
    assert f"{next(iter(moved['factors']))} " in result.stderr


def test_factors_are_told_largest_first_and_small_ones_not_at_all():
    assert describe_factors({"smile": 0.9, "brows": -0.08, "age": 0.01}) == (
        "smile +0.90, brows -0.08"
    )
    assert describe_factors({"smile": 0.01}) == "none"
    many = {f"factor{i}": 1 - i / 10 for i in range(8)}
    assert describe_factors(many).endswith("factor5 +0.50, 2 more")


def test_an_edit_beyond_all_pictures_is_one_line(network, latents):
    heads = Heads(network, latents[0], ["a"], [None], paste=False)
    far = Change(ws=torch.full_like(latents[0].ws, 3e38))
    with pytest.raises(GaneditError, match=r"can draw, at strength 0\.5"):
        draw(Edit(heads, far, (0.0, 0.5, 1.0), "smile", None))


def test_a_global_edit_of_files_takes_the_class(run, class_network_path, tmp_path, monkeypatch):
    monkeypatch.setenv("GANEDIT_CACHE", str(tmp_path / "cache"))
    network = load_network(class_network_path, device="cpu")
    save_latent(tmp_path / "b.pt", sample(network, [1], label=[0, 1, 0]))
    options = ["--method", "global", "--prompt", "smile", "--class", "1", *QUICK]
    result = run("clip-edit", tmp_path / "b.pt", *options)
    assert result.exit_code == 0, result.output
    assert load_latent("out/b-edited.pt").offsets is not None
