import json
from pathlib import Path

import pytest
import torch
from torch import nn

from ganedit.checkpoints import load_encoder, load_network
from ganedit.checkpoints.rosinality import to_rosinality
from ganedit.inversion import encode
from ganedit.io import load_latent, read_image, write_image
from tests.conftest import make_generator

RESULTS = ["photo.pt", "photo.png", "photo-target.png", "photo-comparison.png"]
PHOTO = Path(__file__).parents[2] / "examples" / "photo.jpg"


@pytest.fixture
def photos(tmp_path, network):
    """Three pictures of the tiny network."""
    generator = network.generator
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(9))
    paths = [tmp_path / name for name in ("photo.png", "b.png", "c.png")]
    for path, image in zip(paths, generator.synthesize(generator.map(z)), strict=True):
        write_image(path, image[None].clamp(-1, 1))
    return paths


@pytest.fixture
def options(network_path, encoder_path):
    return ("--network", network_path, "--encoder", encoder_path, "--device", "cpu")


def test_the_results_have_the_names_of_project(run, photos, options, network, encoder_path):
    result = run("encode", photos[0], *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [f"out/{name}" for name in [*RESULTS, "run.json"]]
    assert "PSNR" in result.stderr
    latent = load_latent("out/photo.pt")
    assert (latent.names, latent.space) == (("photo",), "w+")
    assert latent.fingerprint == network.fingerprint
    encoder = load_encoder(encoder_path, device="cpu")
    assert torch.equal(latent.ws, encode(network, encoder, read_image(photos[0])))
    picture = network.generator.synthesize(latent.ws)
    assert (read_image("out/photo.png") - picture.clamp(-1, 1)).abs().max() < 1 / 127
    assert torch.equal(read_image("out/photo-target.png"), read_image(photos[0]))
    record = json.loads(Path("out/run.json").read_text())
    assert record["command"] == "encode"
    assert record["encoder"]["architecture"] == "CompactEncoder"
    (figures,) = record["results"]
    assert {"name", "photo", "distance", "psnr", "deviation", "seconds"} == figures.keys()
    assert sorted(record["files"]) == sorted(RESULTS)


def test_batches_do_not_change_a_photo(run, photos, options, monkeypatch):
    assert run("encode", *photos, *options, "--out", "together").exit_code == 0
    monkeypatch.setattr("ganedit.cli.encode._BATCH_PIXELS", 1)
    result = run("encode", *photos, *options, "--out", "single", "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["results"]) == 3
    for name in ("photo", "b", "c"):
        one, other = (load_latent(f"{folder}/{name}.pt").ws for folder in ("together", "single"))
        torch.testing.assert_close(one, other)


def test_of_a_folder_what_fails_is_left_out(run, photos, options, tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    photos[0].rename(folder / "a.png")
    photos[1].rename(folder / "sub" / "a.png")
    (folder / "broken.png").write_bytes(b"no picture")
    result = run("encode", folder, *options)
    assert result.exit_code == 1
    assert "1 of 3 photos failed" in result.stderr.splitlines()[-1]
    record = json.loads(Path("out/run.json").read_text())
    assert [one["name"] for one in record["results"]] == ["a", "sub/a"]
    assert [one["name"] for one in record["failed"]] == ["broken"]
    assert load_latent("out/sub/a.pt").names == ("sub/a",)
    assert run("encode", tmp_path / "folder" / "sub", *options, "--out", "one").exit_code == 0


def test_faces_are_cropped_and_keep_their_places(run, fails, photos, options):
    write_image("scene.png", torch.zeros(1, 3, 90, 120))
    Path("faces.json").write_text(
        "[[[50, 40], [66, 40], [58, 55]], [[20, 20], [24, 20], [22, 24]]]"
    )
    arguments = ("encode", "scene.png", *options, "--align", "faces.json")
    assert run(*arguments, "--face", "all").exit_code == 0
    for face, centre in ((1, 58), (2, 22)):
        (place,) = load_latent(f"out/scene-{face}.pt").alignment
        assert torch.tensor(place.quad).mean(dim=0)[0] == pytest.approx(centre, abs=4)
    assert "--align" in fails("encode", photos[0], *options, "--face", 2, code=2)


def test_clay_has_its_own_encoder(run):
    result = run("encode", PHOTO, "--device", "cpu")
    assert result.exit_code == 0, result.output
    record = json.loads(Path("out/run.json").read_text())
    assert record["encoder"]["source"] == "clay-encoder"
    assert record["loss"] == "clay"
    assert record["results"][0]["psnr"] > 18


def test_a_generator_without_an_encoder_says_so(fails, photos, network_path):
    line = fails("encode", photos[0], "--network", network_path, "--device", "cpu")
    assert "no encoder for this generator is at hand; name one with --encoder, train one" in line


def test_encoders_that_do_not_fit_are_one_line(fails, photos, options, network_path, encoder_path):
    one = photos[0]
    line = fails("encode", one, "--encoder", encoder_path, "--device", "cpu")
    assert "an encoder of another generator" in line
    line = fails("encode", one, "--network", network_path, "--encoder", "x", "--device", "cpu")
    assert "'x': no such file" in line
    line = fails("encode", one, *options[:2], "--encoder", network_path, "--device", "cpu")
    assert "without an encoder" in line
    Path("out").mkdir()
    Path("out/photo.pt").write_text("mine")
    assert "photo.pt: not written by ganedit" in fails("encode", one, *options)


class TinyPyramid(nn.Module):
    """Stands in for pSp's encoder, two of which have half a billion numbers."""

    def __init__(self, *, num_ws, in_channels=3):
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(in_channels, 4, 64, 64))
        heads = (nn.ModuleDict({"linear": nn.Linear(64, 512)}) for _ in range(num_ws))
        self.styles = nn.ModuleList(heads)

    def forward(self, images):
        x = self.input_layer(images).flatten(1)
        return torch.stack([head["linear"](x) for head in self.styles], dim=1)


@pytest.fixture
def sam(tmp_path, monkeypatch):
    """A bundle of SAM and its content."""
    monkeypatch.setattr("ganedit.encoders.sam.GradualStyleEncoder", TinyPyramid)
    torch.manual_seed(0)
    state = {f"decoder.{k}": v for k, v in to_rosinality(make_generator(w_dim=512))[0].items()}
    for name, channels in (("encoder", 4), ("pretrained_encoder", 3)):
        encoder = TinyPyramid(num_ws=6, in_channels=channels)
        state |= {f"{name}.{key}": value for key, value in encoder.state_dict().items()}
    options = {"start_from_encoded_w_plus": True, "start_from_latent_avg": False}
    content = {"state_dict": state, "opts": options, "latent_avg": torch.randn(6, 512)}
    torch.save(content, tmp_path / "sam.pt")
    return tmp_path / "sam.pt", content


def _sams_latents(content, images, age):
    """What SAM's code computes, with its own arrangement of the channels."""

    def found(name, x):
        state = content["state_dict"]
        weight, bias = (state[f"{name}.input_layer.0.{part}"] for part in ("weight", "bias"))
        patches = x.unfold(2, 64, 64).unfold(3, 64, 64)
        x = torch.einsum("ncabhw,ochw->noab", patches, weight) + bias[:, None, None]
        heads = [
            x.flatten(1) @ state[f"{name}.styles.{i}.linear.weight"].mT
            + state[f"{name}.styles.{i}.linear.bias"]
            for i in range(6)
        ]
        return torch.stack(heads, dim=1)

    aged = torch.cat([images, age / 100 * torch.ones(len(images), 1, 256, 256)], dim=1)
    return (
        found("encoder", aged) + found("pretrained_encoder", aged[:, :-1]) + content["latent_avg"]
    )


def test_sam_draws_people_at_an_age(run, sam, tmp_path):
    bundle, content = sam
    photo = tmp_path / "photo.png"
    write_image(photo, torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2)))
    read = nn.functional.interpolate(read_image(photo), size=(256, 256), mode="bilinear")
    for age in (0, 37, 100):
        result = run(
            "encode", photo, "--network", bundle, "--age", age, "--out", age, "--device", "cpu"
        )
        assert result.exit_code == 0, result.output
        wanted = _sams_latents(content, read, age)
        torch.testing.assert_close(load_latent(f"{age}/photo.pt").ws, wanted, rtol=0, atol=1e-5)
        record = json.loads(Path(f"{age}/run.json").read_text())
        assert record["arguments"]["age"] == age
        assert record["encoder"]["architecture"] == "AgeEncoder"
    ages = [load_latent(f"{age}/photo.pt").ws for age in (0, 37, 100)]
    torch.testing.assert_close(ages[1], ages[0].lerp(ages[2], 0.37))  # these heads are linear
    assert (ages[2] - ages[0]).abs().max() > 0.01


def test_without_an_age_sam_finds_what_it_starts_from(run, sam, photos):
    bundle, content = sam
    projected = ("project", photos[0], "--network", bundle, "--steps", "1", "--loss", "pixel")
    result = run(*projected, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "encoder" in json.loads(Path("out/run.json").read_text())["start"]
    network, encoder = (load(bundle, device="cpu") for load in (load_network, load_encoder))
    images = torch.rand(2, 3, 256, 256)
    content["state_dict"] |= {
        key: torch.zeros_like(value)
        for key, value in content["state_dict"].items()
        if key.startswith("encoder.")
    }
    wanted = _sams_latents(content, images, 0)
    torch.testing.assert_close(encode(network, encoder, images), wanted, rtol=0, atol=1e-5)


def test_ages_are_for_sam_and_sam_is_for_ages(fails, sam, photos, options):
    bundle, content = sam
    line = fails("encode", photos[0], "--network", bundle, "--device", "cpu")
    assert "SAM's encoder asks for an age; give one with --age, 0 to 100" in line
    line = fails("encode", photos[0], *options, "--age", "30")
    assert "(CompactEncoder) takes no age, only SAM's does; leave out --age" in line
    del content["state_dict"]["pretrained_encoder.input_layer.0.weight"]
    torch.save(content, bundle)
    line = fails("encode", photos[0], "--network", bundle, "--age", "30", "--device", "cpu")
    assert "missing tensor encoder.pretrained_encoder" in line


def test_an_age_is_0_to_100(run, photos, options):
    for age in ("-1", "101", "old"):
        assert run("encode", photos[0], *options, "--age", age).exit_code == 2
