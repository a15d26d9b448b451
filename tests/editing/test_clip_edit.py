import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from ganedit.checkpoints import load_encoder, load_network
from ganedit.data.clayheads import FACTORS, render, sample_factors
from ganedit.editing import sample, synthesize
from ganedit.editing.changes import apply_change
from ganedit.editing.clip_edit import PromptScale, measure_prompt, optimize_edit
from ganedit.errors import GaneditError
from ganedit.features import load_clip
from ganedit.features.clay import load_clay_features
from ganedit.features.clip import Clip, Scaling
from ganedit.inversion import encode
from ganedit.losses.clip import Prompt, TextTarget, encode_prompts
from ganedit.losses.identity import ClayIdentity
from ganedit.metrics.edits import EDIT_CASES, pick_heads, score_edits


class _Tokenizer:
    context_length = 8


class _Colours(nn.Module):
    """Sees nothing but the mean colour."""

    def encode_image(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3)) + 0.3


@pytest.fixture(scope="module")
def clip():
    scaling = Scaling(side=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return Clip(_Colours(), _Tokenizer(), name="colours", scaling=scaling)


RED = TextTarget(torch.tensor([[1.0, 0.0, 0.0]]), torch.ones(1))
SCALE = PromptScale(0.1, 2.0, {})


def edit(network, latent, clip, **settings):
    fields = {"target": RED, "steps": 8, "scale": SCALE, "learning_rate": 0.2}
    return optimize_edit(network, latent, clip, **(fields | settings))


def redness(network, latent, clip):
    images = torch.cat(list(synthesize(network, latent)))
    return RED.score(clip.encode_images(images))


@pytest.mark.parametrize("space", ["w+", "s"])
def test_an_edit_fits_the_words_better_and_is_a_change_of_its_space(network, clip, space):
    latent = sample(network, [1, 2], noise="random")
    found = edit(network, latent, clip, space=space)
    assert found.history.shape == (8, 2)
    assert found.seconds > 0
    if space == "w+":
        assert found.change.ws.shape == latent.ws.shape
        assert found.change.offsets is None
    else:
        assert found.change.ws is None
        channels = [layer.channels for layer in network.generator.style_layers]
        assert [list(x.shape) for x in found.change.offsets] == [[2, c] for c in channels]
    edited = apply_change(latent, found.change)
    assert (redness(network, edited, clip) > redness(network, latent, clip) + 0.01).all()
    assert edited.noise is latent.noise


@pytest.mark.parametrize("space", ["w+", "s"])
def test_the_papers_recipe_is_adam_on_the_numbers(network, clip, space):
    latent = sample(network, [1])
    run = partial(edit, network, latent, clip, recipe="styleclip", space=space, scale=None)
    first = run(steps=1, learning_rate=0.5, latent_weight=0.0).change
    moved = first.ws if space == "w+" else torch.cat(first.offsets, dim=1)
    # Adam's first step is its rate wherever there is a gradient, here where the warm-up has ended.
    torch.testing.assert_close(moved.abs().amax(), torch.tensor(0.5), atol=1e-3, rtol=0)
    assert float((moved.abs() > 0.45).double().mean()) > 0.5
    start, end = run(steps=8).history[[0, -1], 0]
    assert 0 <= end < start  # one minus a cosine
    torch.testing.assert_close(start, 1 - redness(network, latent, clip)[0], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("space", ["w+", "s"])
def test_a_row_does_not_see_the_others(network, clip, space):
    latent = sample(network, [1, 2, 3])
    neutral = replace(RED, neutral=torch.tensor([0.0, 1.0, 0.0]))
    run = partial(edit, network, clip=clip, space=space, target=neutral)
    together, alone = run(latent).change, run(latent.row(1)).change
    if space == "w+":
        torch.testing.assert_close(together.ws[1:2], alone.ws, atol=1e-3, rtol=1e-3)
    else:
        for all_rows, one in zip(together.offsets, alone.offsets, strict=True):
            torch.testing.assert_close(all_rows[1:2], one, atol=1e-3, rtol=1e-3)


def test_only_the_chosen_layers_change(network, clip):
    latent = sample(network, [1])
    moved = edit(network, latent, clip, layers=[1, 3]).change.ws.abs().amax(dim=(0, 2))
    assert (moved > 0).tolist() == [False, True, False, True, False, False]
    offsets = edit(network, latent, clip, layers=[1], space="s").change.offsets
    for layer, offset in zip(network.generator.style_layers, offsets, strict=True):
        assert bool(offset.any()) == (layer.layer == 1)


def test_offsets_of_the_start_are_kept_and_added_to(network, clip):
    latent = sample(network, [1])
    first = apply_change(latent, edit(network, latent, clip, space="s").change)
    second = apply_change(first, edit(network, first, clip, space="s").change)
    assert redness(network, second, clip) > redness(network, first, clip)
    assert redness(network, first, clip) > redness(network, latent, clip)


def test_what_should_stay_stays(network, clip):
    latent = sample(network, [1])
    keep = torch.zeros(1, 1, 16, 16)
    keep[..., :8] = 1
    start = next(synthesize(network, latent))

    def moved(**settings) -> float:
        change = edit(network, latent, clip, steps=20, **settings).change
        difference = next(synthesize(network, apply_change(latent, change))) - start
        return float(difference[..., :8].square().mean())

    assert moved(keep=keep, keep_weight=1e4) < 0.1 * moved()


def test_the_identity_and_the_distance_hold_the_edit_back(network, clip):
    latent = sample(network, [1])

    def apart(images: Tensor, targets: Tensor) -> Tensor:
        return (images - targets).square().mean(dim=(1, 2, 3))

    free = edit(network, latent, clip).change.ws.norm()
    held = edit(network, latent, clip, identity=apart, identity_weight=1e5).change.ws.norm()
    near = edit(network, latent, clip, latent_weight=1e3).change.ws.norm()
    assert held < 0.5 * free
    assert near < 0.5 * free


def test_progress_is_told(network, clip):
    told = []
    edit(network, sample(network, [1, 2]), clip, on_step=lambda *values: told.append(values))
    assert [(step, total) for step, total, _ in told] == [(step, 8) for step in range(1, 9)]
    assert all(values["loss"].shape == (2,) for _, _, values in told)


def test_networks_with_classes_are_edited_too(class_network_path, clip):
    network = load_network(class_network_path, device="cpu")
    latent = sample(network, [1], label=[0.0, 1.0, 0.0])
    assert edit(network, latent, clip, steps=1, scale=None).change.ws.isfinite().all()


def test_settings_that_make_no_sense_are_refused(network, clip, other_network_path):
    latent = sample(network, [1])
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        edit(network, latent, clip, steps=0)
    with pytest.raises(ValueError, match="space"):
        edit(network, latent, clip, space="z")
    for layers in ([], [6], [-1]):
        with pytest.raises(GaneditError, match="expected some of 0 to 5"):
            edit(network, latent, clip, layers=layers)
    for keep in (torch.zeros(1, 1, 8, 8), torch.zeros(2, 1, 16, 16), torch.full((1, 1, 16, 16), 2)):
        with pytest.raises(ValueError, match="keep"):
            edit(network, latent, clip, keep=keep)
    with pytest.raises(GaneditError, match="another generator"):
        edit(load_network(other_network_path, device="cpu"), latent, clip)
    exact = Clip(clip.model, _Tokenizer(), name="x", scaling=clip.scaling, preprocess="open_clip")
    with pytest.raises(GaneditError, match="no gradients"):
        edit(network, latent, exact)


def test_values_that_are_not_finite_are_refused(network, clip):
    latent = sample(network, [1])
    with pytest.raises(GaneditError, match="step 1 gave values that are not finite"):
        edit(network, latent, clip, scale=PromptScale(math.nan, 1.0, {}))
    with pytest.raises(GaneditError, match="fits all pictures of this generator alike"):
        measure_prompt(network, clip, TextTarget(torch.zeros(1, 3), torch.ones(1)))


@pytest.fixture(scope="module")
def clay():
    return load_network("clay", device="cpu"), load_clip(), load_clay_features()


def test_what_a_prompt_speaks_of_is_found(clay):
    network, clip, features = clay

    def told(text: str) -> dict[str, float]:
        found = measure_prompt(network, clip, encode_prompts(clip, [Prompt(text)]), features)
        assert set(found.told) == {factor.name for factor in FACTORS}
        return found.told

    dark = told("dark skin")
    assert dark["skin_tone"] == 1
    assert max(share for name, share in dark.items() if name != "skin_tone") < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "right", "moved"), [("smile", 0.5, 0.25), ("dark skin", 0.75, 0.4)]
)
def test_heads_change_as_they_were_asked_to(clay, prompt, right, moved):
    network, clip, features = clay
    case = next(case for case in EDIT_CASES if case.prompt == prompt)
    photos = render(sample_factors(pick_heads(case, 4)), resolution=64).image
    encoder = load_encoder("clay-encoder", device="cpu")
    latent = replace(sample(network, range(4)), ws=encode(network, encoder, photos), space="w+")
    target = encode_prompts(clip, [Prompt(case.prompt)])
    scale = measure_prompt(network, clip, target, features)
    identity = ClayIdentity(features, spared=scale.told)
    found = optimize_edit(network, latent, clip, target, scale=scale, identity=identity)
    before, after = (
        torch.cat(list(synthesize(network, one)))
        for one in (latent, apply_change(latent, found.change))
    )
    score = score_edits(case, features, before, after)
    assert score.right >= right
    assert score.moved > moved
    assert score.others < 0.1


@pytest.mark.parametrize("companions", [0, 1, 2])
def test_companions_do_not_change_how_a_row_is_drawn(network, clip, companions):
    latent = sample(network, [1, 2], noise="random")
    neutral = replace(RED, neutral=torch.tensor([0.0, 1.0, 0.0]))
    found = edit(network, latent, clip, companions=companions, target=neutral)
    edited = apply_change(latent, found.change)
    assert (redness(network, edited, clip) > redness(network, latent, clip)).all()
