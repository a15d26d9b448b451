import json
import shutil
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import load_network
from ganedit.cli.editability import measure_deviation
from ganedit.data.clayheads import render, sample_factors
from ganedit.editing import stack
from ganedit.features import ir_se
from ganedit.features.arcface import find_arcface
from ganedit.io import load_latent, read_image, save_latent, to_square, write_image
from ganedit.metrics import psnr
from tests.arcface import SHORT, write_arcface


@pytest.fixture(autouse=True)
def no_vgg(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


@pytest.fixture
def heads(tmp_path):
    folder = tmp_path / "heads"
    images = render(sample_factors([1, 2])).image
    for index, image in enumerate(images):
        write_image(folder / f"{index}.png", image[None])
    return folder


def test_two_pictures(run, heads):
    result = run("compare", heads / "0.png", heads / "1.png", "--clay", "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    (figures,) = content["pictures"]
    images = render(sample_factors([1, 2])).image
    assert figures["psnr"] == pytest.approx(float(psnr(images[:1], images[1:])), abs=0.05)
    assert 0 < figures["ssim"] < 1
    assert figures["lpips"] is None
    assert figures["clay"] > 0.3
    assert set(figures["factors"]) >= {"skin_tone", "jaw"}
    table = run("compare", heads / "0.png", heads / "1.png", "--device", "cpu")
    assert table.stdout == ""
    assert "SSIM" in table.stderr
    assert "LPIPS" not in table.stderr
    assert "identity" not in table.stderr


def test_folders_by_name(run, fails, heads, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(heads, other)
    write_image(other / "extra.png", torch.zeros(1, 3, 64, 64))
    result = run("compare", heads, other, "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert [one["name"] for one in content["pictures"]] == ["0", "1"]
    assert content["mean"]["psnr"] == 99
    assert content["mean"]["ssim"] == 1
    assert "only here, so left out: extra" in result.stderr
    assert "mean" in run("compare", heads, other, "--clay", "--device", "cpu").stderr
    assert "share no picture" in fails("compare", heads, _empty(tmp_path))


def _empty(tmp_path):
    write_image(tmp_path / "third" / "a.png", torch.zeros(1, 3, 8, 8))
    return tmp_path / "third"


def test_names_in_folders(run, heads, tmp_path):
    """Subfolders count; two pictures of one stem keep their suffixes, as in project's results."""
    photos, results = tmp_path / "photos", tmp_path / "results"
    names = {"2019/anna.png": "2019/anna.png", "b.png": "b.png.png", "b.bmp": "b.bmp.png"}
    for index, (name, result) in enumerate(names.items()):
        image = torch.full((1, 3, 16, 16), -1 + index / 8)
        write_image(photos / name, image) if name != "b.bmp" else _write_bmp(photos / name, index)
        write_image(results / result, image)
    for index in range(8):
        write_image(results / f"other{index}.png", torch.zeros(1, 3, 16, 16))
    result = run("compare", photos, results, "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    found = {one["name"]: one["psnr"] for one in json.loads(result.stdout)["pictures"]}
    assert found == dict.fromkeys(("2019/anna", "b.bmp", "b.png"), 99)
    assert "other0, other1, other2, other3, other4 and 3 more" in result.stderr


def _write_bmp(path, index):
    from PIL import Image

    grey = round(index / 8 * 127.5)
    Image.new("RGB", (16, 16), (grey, grey, grey)).save(path)


def test_two_sizes_are_compared_as_squares(run, heads, tmp_path):
    wide = torch.cat(
        [
            torch.zeros(1, 3, 128, 32),
            read_image(heads / "0.png").repeat_interleave(2, dim=2).repeat_interleave(2, dim=3),
            torch.zeros(1, 3, 128, 32),
        ],
        dim=3,
    )
    write_image(tmp_path / "wide.png", wide)
    result = run("compare", tmp_path / "wide.png", heads / "0.png", "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "1 of 1 pairs are of two sizes; compared as central squares of 64x64" in result.stderr
    (figures,) = json.loads(result.stdout)["pictures"]
    wanted = psnr(to_square(read_image(tmp_path / "wide.png"), 64), read_image(heads / "0.png"))
    assert figures["psnr"] == pytest.approx(float(wanted), abs=1e-4)
    assert figures["psnr"] > 30


def test_a_broken_picture_of_a_folder_is_left_out(run, fails, heads, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(heads, other)
    (other / "1.png").write_bytes(b"broken")
    result = run("compare", heads, other, "--json", "--device", "cpu")
    assert result.exit_code == 1
    content = json.loads(result.stdout)
    assert [one["name"] for one in content["pictures"]] == ["0"]
    assert "1.png" in content["failed"][0]
    assert "1 of 2 pairs failed" in result.stderr
    (other / "0.png").write_bytes(b"broken")
    result = run("compare", heads, other, "--device", "cpu")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 2  # one line a pair


def test_latents_are_drawn(run, latent_paths, latents, network, tmp_path):
    write_image(tmp_path / "a.png", _picture(network, latents[0]))
    result = run("compare", tmp_path / "a.png", latent_paths[0], "--json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    (figures,) = json.loads(result.stdout)["pictures"]
    assert figures["psnr"] > 45  # rounded to 8 bits
    assert figures["deviation_a"] is None
    assert figures["deviation_b"] == measure_deviation(network.generator)(latents[0].ws)[0]
    table = run("compare", latent_paths[0], latent_paths[1], "--device", "cpu")
    assert "A from average" in table.stderr
    assert "B from average" in table.stderr


def _picture(network, latent):
    return network.generator.synthesize(latent.ws).clamp(-1, 1)


def test_a_random_latent_is_as_far_from_the_average_as_is_typical(network, class_network_path):
    generator = network.generator
    z = torch.randn(4000, 16, generator=torch.Generator().manual_seed(8))
    found = torch.tensor(measure_deviation(generator)(generator.map(z)))
    assert found.square().mean().sqrt() == pytest.approx(1, abs=0.03)
    classes = load_network(class_network_path, device="cpu").generator
    assert measure_deviation(classes)(torch.zeros(2, 6, 16)) == [None, None]


def test_what_project_knows_of_a_result_is_told(run, tmp_path, network_path, network):
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(5))
    write_image(tmp_path / "photo.png", _picture_of(network.generator, z))
    options = ("--network", network_path, "--steps", "3", "--loss", "pixel", "--device", "cpu")
    assert run("project", tmp_path / "photo.png", *options).exit_code == 0
    recorded = json.loads(Path("out/run.json").read_text())["results"][0]
    compare = ("compare", "out/photo-target.png", "out/photo.png", "--device", "cpu")
    (figures,) = json.loads(run(*compare, "--json").stdout)["pictures"]
    assert figures["deviation_b"] == recorded["deviation"]
    assert figures["domain_gap"] == recorded["domain_gap"]
    assert figures["psnr"] == pytest.approx(recorded["psnr"], abs=0.5)
    own = measure_deviation(network.generator)(load_latent("out/photo.pt").ws)
    assert own == pytest.approx([recorded["deviation"]], abs=0.002)
    record = Path("out/run.json")
    record.write_text(record.read_text().replace('"domain_gap": ', '"domain_gap": 12'))
    assert "unlike the generator's pictures (domain gap 12" in run(*compare).stderr
    for text in ("{}", "[]", '{"results": [3]}', '{"results": [{"name": []}]}', "\xff"):
        record.write_text(text, encoding="latin-1")
        assert run(*compare).exit_code == 0


def _picture_of(generator, z):
    return generator.synthesize(generator.map(z)).clamp(-1, 1)


def test_identity_where_its_weights_are(run, fails, heads, monkeypatch, tmp_path):
    monkeypatch.setattr(ir_se, "_STAGES", SHORT)
    write_arcface(tmp_path / "a.pth")
    pair = ("compare", heads / "0.png", heads / "1.png", "--device", "cpu")
    result = run(*pair, "--identity-weights", tmp_path / "a.pth", "--json")
    assert result.exit_code == 0, result.output
    (figures,) = json.loads(result.stdout)["pictures"]
    arcface = find_arcface(tmp_path / "a.pth")
    one, other = (arcface(read_image(heads / f"{index}.png"))[0] for index in (0, 1))
    assert figures["identity"] == pytest.approx(float(one @ other), abs=1e-5)
    assert "no such file" in fails(*pair, "--identity-weights", tmp_path / "absent.pth")


def test_a_picture_that_is_no_square_has_no_identity(run, monkeypatch):
    monkeypatch.setattr("ganedit.features.arcface.find_arcface", lambda path, device: _Nobody())
    write_image("wide.png", torch.zeros(1, 3, 16, 32))
    assert "identity" not in run("compare", "wide.png", "wide.png", "--device", "cpu").stderr
    write_image("square.png", torch.zeros(1, 3, 16, 16))
    result = run("compare", "square.png", "square.png", "--json", "--device", "cpu")
    assert json.loads(result.stdout)["mean"]["identity"] == 1


class _Nobody(torch.nn.Module):
    """Sees the same person everywhere."""

    def forward(self, images):
        return torch.tensor([[0.6, 0.8]])


def test_what_cannot_be_compared(fails, heads, latents):
    write_image("small.png", torch.zeros(1, 3, 8, 8))
    assert "is a folder" in fails("compare", heads, "small.png")
    assert "no such file" in fails("compare", "absent.png", "small.png")
    assert "no such file" in fails("compare", "absent.pt", "small.png")
    Path("mine.pt").write_text("mine")
    assert "mine.pt" in fails("compare", "mine.pt", "small.png")
    save_latent("several.pt", stack(latents[:2]))
    assert "holds 2 latents; compare takes" in fails("compare", "several.pt", "small.png")


def test_small_pictures_have_no_ssim(run):
    for side in (1, 8):
        write_image("small.png", torch.zeros(1, 3, side, side))
        result = run("compare", "small.png", "small.png", "--clay", "--json", "--device", "cpu")
        assert result.exit_code == 0, result.output
        mean = json.loads(result.stdout)["mean"]
        assert (mean["psnr"], mean["ssim"], "clay" in mean) == (99, None, side == 8)
