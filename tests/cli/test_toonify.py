"""``ganedit toonify`` and ``emojify``: photos and latents drawn by blends."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from ganedit.blending import blend, switch_shares
from ganedit.checkpoints import load_network, save_network
from ganedit.cli import toonify as module
from ganedit.io import load_latent, read_image, write_image
from tests.conftest import make_generator


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network of clay's world, and one that was fine-tuned from it."""
    folder = tmp_path_factory.mktemp("networks")
    base, style = folder / "base.safetensors", folder / "style.safetensors"
    save_network(base, make_generator(), provenance={"perceptual": "clay"})
    told = {"adapted_from": [load_network(base, device="cpu").fingerprint]}
    save_network(style, make_generator(seed=1), provenance=told)
    return base, style


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "anna.png"
    write_image(path, torch.rand(1, 3, 20, 16, generator=torch.Generator().manual_seed(0)))
    return path


def test_a_photo_is_projected_and_drawn_at_every_level(run, paths, photo):
    base, style = paths
    result = run("toonify", photo, "--style", style, "--network", base, "--steps", 2)
    assert result.exit_code == 0, result.stderr
    names = ["anna.pt", "anna-toon.png", "anna-toon-sheet.png", "run.json"]
    assert result.stdout.splitlines() == [f"out/{name}" for name in names]
    latent, network = load_latent(Path("out/anna.pt")), load_network(base, device="cpu")
    assert latent.fingerprint == network.fingerprint
    # The photo, what was found, and 16, which is the only one of toonify's levels that it has.
    assert read_image("out/anna-toon-sheet.png").shape[3] == 3 * 128
    shares = switch_shares(network.generator, 16)
    drawn = blend(network.generator, load_network(style, device="cpu").generator, shares)
    wanted = drawn.synthesize(latent.ws).clamp(-1, 1)
    assert float((read_image("out/anna-toon.png") - wanted).abs().max()) < 0.01
    assert json.loads(Path("out/run.json").read_text())["levels"] == [16]


def test_latents_and_seeds_are_drawn_as_they_are(run, paths, latent_paths):
    base, style = paths
    given = ["--style", style, "--network", base, "--at", "16,8", "--transparent"]
    result = run("toonify", latent_paths[0], 7, *given)
    assert result.exit_code == 0, result.stderr
    stems = [latent_paths[0].stem, "seed0007"]
    files = [f"out/{stem}-toon{end}.png" for stem in stems for end in ("", "-sheet")]
    assert result.stdout.splitlines() == [*files, "out/run.json"]
    with Image.open(files[0]) as picture:
        assert picture.mode == "RGBA"
    assert read_image(files[1]).shape[3] == 3 * 128
    other = run("toonify", 7, *given[:-1], "--order", "BA", "--out", "other")
    assert other.exit_code == 0, other.stderr
    assert Path("other/seed0007-toon.png").read_bytes() != Path(files[2]).read_bytes()


def test_emojify_is_toonify_with_the_embedded_emoji(run, monkeypatch):
    opened = []

    def open_network(source: str, *, device: str):
        opened.append(source)
        network = load_network("clay", device=device)
        network.generator.synthesis.b64.torgb.bias[0] += 0.25
        return network

    monkeypatch.setattr(module, "open_network", open_network)
    result = run("emojify", 3)
    assert result.exit_code == 0, result.stderr
    assert opened == ["clay-emoji"]
    assert result.stdout.splitlines()[0] == "out/seed0003-emoji.png"
    # Blended with a redder clay, clay gets redder.
    run("generate", "--seeds", 3, "--out", "plain")
    plain = read_image("plain/seed0003.png")
    change = read_image("out/seed0003-emoji.png") - plain
    assert torch.equal(change[:, 1:], torch.zeros_like(change[:, 1:]))
    red = change[:, 0][plain[:, 0].abs() < 0.7]
    assert float((red - 0.25).abs().max()) < 0.01


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--at", "16,12"], 1, "--at: 12 is no level of"),
        (["--at", "x"], 2, "no list of levels"),
        (["--paste-back"], 2, "--paste-back needs a face"),
        (["--face", "2"], 2, "--face is for --align"),
    ],
)
def test_bad_values_are_refused_in_one_line(fails, paths, photo, options, code, told):
    base, style = paths
    line = fails("toonify", photo, "--style", style, "--network", base, *options, code=code)
    assert told in line


def test_what_does_not_belong_together_is_refused(fails, run, paths, photo, wide_network_path):
    base, style = paths
    given = ["--style", style, "--network", base]
    assert "to two commands" in fails("toonify", photo, 7, *given)
    assert "are for photos" in fails("toonify", 7, *given, "--steps", 3, code=2)
    assert "no such file" in fails("toonify", "missing.jpg", *given)
    fails("toonify", "a" * 300, *given)
    result = run("toonify", 7, "--style", wide_network_path, "--network", base)
    assert result.exit_code == 1
    assert "cannot be blended" in result.stderr.splitlines()[-1]


def test_a_class_of_a_conditional_network_is_drawn(run, fails, class_network_path):
    options = ["--network", class_network_path, "--style", class_network_path]
    assert "choose one with --class" in fails("toonify", "3", *options)
    assert run("toonify", "3", *options, "--class", "1", "--out", "out").exit_code == 0


def test_a_style_of_strangers_is_drawn_with_a_warning(run, paths, network_path, other_network_path):
    result = run("toonify", 7, "--style", other_network_path, "--network", network_path)
    assert result.exit_code == 0
    assert "do not say that one was fine-tuned from the other" in result.stderr


def test_a_face_is_put_back_into_its_photo(run, paths):
    base, style = paths
    photo = Path(__file__).parents[2] / "examples" / "unaligned.jpg"
    result = run(
        "toonify", photo, "--style", style, "--network", base, "--steps", 1,
        "--align", "clay", "--paste-back",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert read_image("out/unaligned-toon-pasted.png").shape == read_image(photo).shape
    assert load_latent(Path("out/unaligned.pt")).alignment


def test_what_is_put_back_is_claimed_before_the_work(fails, paths):
    base, style = paths
    photo = Path(__file__).parents[2] / "examples" / "unaligned.jpg"
    Path("out").mkdir()
    Path("out/unaligned-toon-pasted.png").write_bytes(b"mine")
    line = fails(
        "toonify", photo, "--style", style, "--network", base, "--steps", 1,
        "--align", "clay", "--paste-back",
    )  # fmt: skip
    assert "unaligned-toon-pasted.png" in line
    assert [path.name for path in Path("out").iterdir()] == ["unaligned-toon-pasted.png"]
