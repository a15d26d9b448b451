import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ganedit.checkpoints import Network
from ganedit.editing import sample, style_statistics, synthesize
from ganedit.editing.changes import apply_change
from ganedit.editing.global_directions import (
    balanced_amounts,
    default_neutral,
    global_change,
    global_edit,
    relevant_amounts,
)
from ganedit.editing.style_statistics import (
    RelevanceSettings,
    find_relevance,
    measure_relevance,
    save_relevance,
)
from ganedit.errors import GaneditError
from ganedit.features import load_clip
from ganedit.features.clay_clip import standard_tokenizer
from ganedit.features.clip import Clip, Scaling
from ganedit.generators import StyleGAN3Generator
from ganedit.losses.clip import TextTarget

QUICK = RelevanceSettings(samples=6, z_samples=300)
BRIGHTER = torch.tensor([0.0, 1.0, 0.0, 0.0])


class Colours(torch.nn.Module):
    """Sees how bright and how colourful a picture is, beside a constant, and counts its work."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.seen = 0

    def encode_image(self, images):
        self.seen += len(images)
        red, green, blue = images.mean(dim=(2, 3)).unbind(1)
        bright = red + green + blue
        return self.scale * torch.stack(
            [torch.ones_like(red), bright, red - green, green - blue], dim=1
        )


def colour_clip(scale: float = 1.0) -> Clip:
    scaling = Scaling(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Clip(Colours(scale), standard_tokenizer(), name="colours", scaling=scaling)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return colour_clip()


@pytest.fixture(scope="module")
def relevance(network, clip):
    return measure_relevance(network, clip, QUICK)


def seen(network, latent, clip):
    return clip.encode_images(torch.cat([*synthesize(network, latent)]).clamp(-1, 1))


def target(direction):
    return TextTarget(direction[None], torch.ones(1), torch.zeros_like(direction))


@pytest.mark.parametrize("recipe", [{}, {"beta": 0.15}])
def test_a_planted_direction_is_found(network, clip, relevance, recipe):
    latent = sample(network, range(50, 62))
    before = seen(network, latent, clip)
    for sign in (1, -1):
        change = global_change(relevance, sign * BRIGHTER, alpha=3, **recipe)
        moved = (seen(network, apply_change(latent, change), clip) - before) * sign
        assert (moved[:, 1] > 0.01).all()
        assert moved[:, 1].mean() > 2 * moved[:, 2:].abs().mean()


def test_beta_keeps_the_relevant_channels_and_alpha_is_in_standard_deviations(relevance):
    relevances = F.normalize(relevance.effects, dim=1) @ BRIGHTER
    change = global_change(relevance, BRIGHTER, alpha=3, beta=0.5)
    parts = [change.offsets[index][0] for index in relevance.layers]
    amounts = torch.cat(parts) / relevance.std
    assert (amounts != 0).equal(relevances.abs() >= 0.5)
    torch.testing.assert_close(amounts.abs().max(), torch.tensor(3.0))
    others = set(range(len(relevance.widths))) - set(relevance.layers)
    assert others
    assert not any(bool(change.offsets[index].any()) for index in others)


def test_a_beta_that_leaves_nothing_says_which_one_would_do():
    effects = F.normalize(torch.tensor([[1.0, 0.5], [0.2, 1.0]]), dim=1)
    with pytest.raises(GaneditError, match=r"no channel's relevance is larger than 0\.894; give"):
        relevant_amounts(effects, torch.tensor([1.0, 0.0]), beta=0.9)


def test_a_generator_that_cannot_do_it_is_one_line(relevance):
    blind = replace(relevance, effects=torch.zeros_like(relevance.effects))
    for recipe in ({}, {"beta": 0.0}):
        with pytest.raises(GaneditError, match="no channel of this generator moves pictures"):
            global_change(blind, BRIGHTER, **recipe)


def test_side_effects_of_many_channels_cancel():
    stream = torch.Generator().manual_seed(0)
    wanted = torch.zeros(16)
    wanted[0] = 1
    # Every channel does a little of what is wanted, and much of what all others do as well.
    effects = 0.3 * wanted + 0.2 * torch.randn(80, 16, generator=stream)
    effects[:, 1] += 0.8
    plain = relevant_amounts(effects, wanted, beta=0.0) @ effects
    balanced = balanced_amounts(effects, wanted) @ effects
    assert F.cosine_similarity(balanced, wanted, dim=0) > 0.8
    assert F.cosine_similarity(plain, wanted, dim=0) < 0.6


def test_each_picture_gets_what_it_needs(network, clip, relevance):
    latent = sample(network, range(50, 58))
    change = global_edit(network, latent, clip, target(BRIGHTER), relevance)
    moved = seen(network, apply_change(latent, change), clip) - seen(network, latent, clip)
    assert (moved[:, 1] > 0.02).all()
    sizes = torch.cat([*change.offsets], dim=1).norm(dim=1)
    assert len(sizes.unique()) > 1
    alone = global_edit(network, latent.row(3), clip, target(BRIGHTER), relevance)
    for one, many in zip(alone.offsets, change.offsets, strict=True):
        torch.testing.assert_close(one[0], many[3])
    fixed = global_edit(network, latent, clip, target(BRIGHTER), relevance, alpha=2)
    assert {len(row) for row in fixed.offsets} == {1}


def test_a_measurement_is_for_its_own_generator_and_clip(network, clip, relevance):
    latent = sample(network, [1])
    with pytest.raises(ValueError, match="another generator or CLIP"):
        global_edit(network, latent, colour_clip(2.0), target(BRIGHTER), relevance)
    with pytest.raises(ValueError, match=r"expected a direction of \[4\], got \[3\]"):
        global_change(relevance, torch.ones(3))


def test_what_was_interrupted_goes_on_and_ends_the_same(network, tmp_path, monkeypatch, relevance):
    monkeypatch.setattr(style_statistics, "_SAVE_SECONDS", -1.0)
    clip = colour_clip()

    def stop(step, total, values):
        if step >= total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_relevance(network, clip, QUICK, folder=tmp_path, on_step=stop)
    first, clip.model.seen = clip.model.seen, 0
    found = find_relevance(network, clip, QUICK, folder=tmp_path)
    channels = len(relevance.sizes)
    # One more is blank: it tells how long directions are, to check the file.
    assert first + clip.model.seen == channels * 2 * QUICK.samples + 1
    assert clip.model.seen < first * 1.5
    for name in ("std", "effects", "sizes"):
        assert getattr(found, name).equal(getattr(relevance, name)), name
    clip.model.seen = 0
    again = find_relevance(network, clip, QUICK, folder=tmp_path)
    assert clip.model.seen == 1
    assert again.effects.equal(found.effects)
    assert len([*tmp_path.iterdir()]) == 1


def test_other_generators_clips_and_settings_are_measured_anew(
    network, clip, tmp_path, other_network_path, relevance
):
    from ganedit.checkpoints import load_network

    find_relevance(network, clip, QUICK, folder=tmp_path)
    find_relevance(load_network(other_network_path, device="cpu"), clip, QUICK, folder=tmp_path)
    find_relevance(network, colour_clip(2.0), QUICK, folder=tmp_path)
    find_relevance(network, clip, replace(QUICK, spread=1.0), folder=tmp_path)
    assert len([*tmp_path.iterdir()]) == 4


def _cut(content: bytes) -> bytes:
    return content[:-7]


def _not_finite(content: bytes) -> bytes:
    return content[:-4] + b"\x00\x00\xc0\x7f"


@pytest.mark.parametrize("damage", [_cut, _not_finite, lambda _: b"", lambda _: b"\x80" * 999])
def test_a_damaged_file_is_measured_again(network, tmp_path, damage, relevance):
    clip = colour_clip()
    find_relevance(network, clip, QUICK, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    clip.model.seen = 0
    found = find_relevance(network, clip, QUICK, folder=tmp_path)
    assert clip.model.seen == len(relevance.sizes) * 2 * QUICK.samples
    assert found.effects.equal(relevance.effects)
    assert path.read_bytes() == content


def test_a_file_of_something_else_is_not_believed(network, clip, tmp_path, relevance):
    find_relevance(network, clip, QUICK, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    save_relevance(path, replace(relevance, network="sha256:0", effects=-relevance.effects))
    found = find_relevance(network, clip, QUICK, folder=tmp_path)
    assert found.effects.equal(relevance.effects)


@pytest.mark.parametrize("forge", [{"effects": 7}, {"effects": 0}, {"std": -1}, {"sizes": -1}])
def test_a_forged_file_is_measured_again(network, clip, tmp_path, relevance, forge):
    find_relevance(network, clip, QUICK, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    forged = {
        name: torch.ones(len(relevance.std), value) if name == "effects" else value * relevance.std
        for name, value in forge.items()
    }
    save_relevance(path, replace(relevance, **forged))
    found = find_relevance(network, clip, QUICK, folder=tmp_path)
    assert found.effects.equal(relevance.effects)
    assert path.read_bytes() == content


def test_a_disk_that_takes_nothing_costs_only_the_file(network, clip, tmp_path, relevance):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    lines: list[str] = []
    found = find_relevance(network, clip, QUICK, folder=blocked, on_trouble=lines.append)
    assert found.effects.equal(relevance.effects)
    (line,) = lines
    assert "cannot be kept" in line
    assert "\n" not in line


def test_stylegan3_has_directions_too(clip):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = StyleGAN3Generator(
            z_dim=16, w_dim=16, img_resolution=16, channel_base=256, channel_max=8, num_layers=4
        )
    network = Network(generator.eval().requires_grad_(False), "tiny", "sha256:0", {})
    relevance = measure_relevance(network, clip, QUICK)
    kinds = [generator.style_layers[index].kind for index in relevance.layers]
    assert set(kinds) == {"conv"}
    latent = sample(network, range(4))
    change = global_edit(network, latent, clip, target(BRIGHTER), relevance)
    moved = seen(network, apply_change(latent, change), clip) - seen(network, latent, clip)
    assert moved[:, 1].mean() > 0


def test_settings_out_of_range_are_refused():
    for wrong in ({"samples": 0}, {"spread": 0.0}, {"truncation_psi": float("nan")}):
        with pytest.raises(ValueError, match="expected"):
            RelevanceSettings(**wrong)


def test_a_generator_of_classes_wants_one(class_network_path, clip):
    from ganedit.checkpoints import load_network

    network = load_network(class_network_path, device="cpu")
    with pytest.raises(GaneditError, match="needs a class"):
        measure_relevance(network, clip, QUICK)
    label = (0.0, 1.0, 0.0)
    found = measure_relevance(network, clip, replace(QUICK, label=label))
    assert found.settings.label == label


def test_the_embedded_clip_knows_its_neutral_prompt(clip):
    assert default_neutral(clip) == "a face"
    embedded = load_clip()
    assert embedded.remarks([default_neutral(embedded)]) == []


def test_the_embedded_measurement_belongs_to_the_embedded_networks(tmp_path):
    from ganedit.checkpoints import load_network

    def never(step, total, values):
        raise AssertionError("measured")

    clay, clip = load_network("clay", device="cpu"), load_clip()
    relevance = find_relevance(clay, clip, folder=tmp_path, on_step=never)
    assert [*tmp_path.iterdir()] == []
    assert len(relevance.effects) == 928
    assert relevance.effects.norm(dim=1).max() <= 1.001


def test_the_example_measures_and_writes(tmp_path, network_path, capsys):
    path = Path(__file__).parents[2] / "examples" / "measure_relevance.py"
    out = tmp_path / "relevance.safetensors"
    main = runpy.run_path(str(path))["main"]
    channels, width = main(out, str(network_path), samples=1, z_samples=20)
    assert capsys.readouterr().out.startswith(f"{out}: {channels} channels, directions of {width}")
    assert out.stat().st_size > 2 * channels * width
