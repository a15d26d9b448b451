import math

import pytest
import torch
from torch import nn

import ganedit
from ganedit.checkpoints import Network
from ganedit.errors import GaneditError
from ganedit.inversion import DOMAIN_GAP_LIMIT, default_perceptual, optimize, project
from ganedit.losses import PerceptualDistance
from ganedit.metrics import psnr
from ganedit.training.features import UNSEEN_SEED
from tests.conftest import make_generator


def named(generator):
    return Network(generator, "tiny", "sha256:0", {})


class Pyramid(nn.Module):
    """The picture at three scales: features without weights."""

    def forward(self, images):
        half = nn.functional.avg_pool2d(images, 2)
        return [images, half, nn.functional.avg_pool2d(half, 2)]


@pytest.fixture(scope="module")
def perceptual():
    return PerceptualDistance(Pyramid(), [torch.tensor(1.0)] * 3, unit_length=False, name="pyramid")


@pytest.fixture(scope="module")
def planted(generator):
    """Latents of random z, and their pictures."""
    z = torch.randn(4, 16, generator=torch.Generator().manual_seed(5))
    ws = generator.map(z)
    return ws, generator.synthesize(ws)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_a_planted_picture_is_recovered(generator, planted, perceptual, space):
    found = project(
        named(generator),
        planted[1],
        perceptual=perceptual,
        space=space,
        steps=150,
        optimize_noise=False,
    )
    assert _relative(found, planted) < 0.03
    assert found.ws.shape == planted[0].shape
    if space == "w":
        assert torch.equal(found.ws, found.ws[:, :1].expand_as(found.ws))
    assert found.noise is None


def _relative(found, planted):
    error = (found.images - planted[1]).square().mean(dim=(1, 2, 3))
    return float((error / planted[1].var(dim=(1, 2, 3))).max())


def test_w_finds_the_planted_latent_itself(generator, planted, perceptual):
    found = project(
        named(generator),
        planted[1],
        perceptual=perceptual,
        space="w",
        steps=250,
        optimize_noise=False,
    )
    spread = generator.map(torch.randn(1000, 16))[:, 0].std(dim=0).norm()
    miss = (found.ws[:, 0] - planted[0][:, 0]).norm(dim=1) / spread
    assert miss.median() < 0.05


def test_the_result_renders_to_the_returned_picture(generator, planted, perceptual):
    found = project(named(generator), planted[1], perceptual=perceptual, steps=20)
    assert [tuple(x.shape) for x in found.noise] == [(4, 1, *s) for s in generator.noise_shapes]
    assert torch.equal(generator.synthesize(found.ws, noise=found.noise), found.images)
    loss = perceptual(found.images, planted[1]) + 10 * (found.images - planted[1]).square().mean(
        dim=(1, 2, 3)
    )
    torch.testing.assert_close(loss, found.history.amin(dim=0), rtol=1e-4, atol=1e-6)


def test_the_best_step_wins_even_when_later_ones_are_worse(
    generator, planted, perceptual, monkeypatch
):
    monkeypatch.setattr(
        optimize._Schedule, "learning_rate", lambda self: 1 + 100 * self.position**2
    )
    found = project(named(generator), planted[1], perceptual=perceptual, steps=40, patience=40)
    assert torch.equal(found.best_step, found.history.argmin(dim=0))
    assert bool((found.history[-1] > found.history.amin(dim=0)).all())


def test_a_photo_does_not_depend_on_its_neighbours(generator, planted, perceptual):
    settings = {"perceptual": perceptual, "steps": 60}
    together = project(named(generator), planted[1], **settings)
    reversed_ = project(named(generator), planted[1].flip(0), **settings)
    torch.testing.assert_close(together.ws, reversed_.ws.flip(0), rtol=1e-2, atol=1e-2)
    for row in (0, 3):
        alone = project(named(generator), planted[1][row : row + 1], **settings)
        torch.testing.assert_close(alone.history[:5], together.history[:5, row : row + 1])
        torch.testing.assert_close(alone.ws, together.ws[row : row + 1], rtol=1e-2, atol=1e-2)


def test_an_early_stop_of_a_neighbour_changes_nothing(generator, perceptual, planted):
    flat = torch.zeros_like(planted[1][:1])
    settings = {"perceptual": perceptual, "steps": 80, "patience": 8, "optimize_noise": False}
    pair = project(named(generator), torch.cat([planted[1][:1], flat]), **settings)
    alone = project(named(generator), planted[1][:1], **settings)
    length = len(alone.history)
    assert torch.equal(pair.history[:length, 0].isnan(), alone.history[:, 0].isnan())
    torch.testing.assert_close(pair.images[:1], alone.images, rtol=1e-2, atol=1e-2)


def test_seeds_decide_the_noise(generator, planted, perceptual):
    target = planted[1][:1].expand(2, -1, -1, -1)
    same = project(named(generator), target, perceptual=perceptual, steps=5)
    other = project(named(generator), target, perceptual=perceptual, steps=5, seeds=[0, 1])
    assert torch.allclose(same.ws[0], same.ws[1], atol=1e-4)
    assert not torch.allclose(other.ws[0], other.ws[1], atol=1e-4)
    assert torch.allclose(same.ws[0], other.ws[0], atol=1e-4)


def test_a_plateau_stops_early(generator, perceptual):
    unreachable = torch.full((1, 3, 16, 16), 0.5)
    found = project(
        named(generator),
        unreachable,
        perceptual=perceptual,
        steps=2000,
        patience=10,
        initial_learning_rate=1e-9,
        latent_noise=0.0,
        optimize_noise=False,
    )
    # The first loss, ten steps on the plateau, ten more in the ramp-down.
    assert len(found.history) == 21


def test_the_schedule_of_the_reference():
    schedule = optimize._Schedule(1, steps=1000, patience=10**6)
    rates, noise = [], []
    for step in range(1000):
        rates.append(float(schedule.learning_rate()))
        noise.append(float(schedule.latent_noise()))
        schedule.advance(torch.tensor([1.0 / (step + 1)]))
    assert schedule.finished
    for step, rate in enumerate(rates):
        t = step / 1000
        down = 0.5 - 0.5 * math.cos(math.pi * min(1, (1 - t) / 0.25))
        assert rate == pytest.approx(down * min(1, (step + 0.5) / 1000 / 0.05), abs=1e-6)
        assert noise[step] == pytest.approx(max(0, 1 - t / 0.75) ** 2, abs=1e-6)


def test_time_is_kept_and_the_schedule_still_ends(generator, planted, perceptual, monkeypatch):
    clock = iter(i * 0.01 for i in range(10**6))
    monkeypatch.setattr(optimize.time, "monotonic", lambda: next(clock))
    rates = []
    original = optimize._Schedule.learning_rate

    def spy(self):
        rates.append(float(original(self)[0]))
        return original(self)

    monkeypatch.setattr(optimize._Schedule, "learning_rate", spy)
    found = project(
        named(generator), planted[1], perceptual=perceptual, steps=100_000, max_seconds=0.5
    )
    assert 45 <= len(found.history) <= 50
    assert rates[-1] < 0.05 < max(rates)
    once = project(named(generator), planted[1], perceptual=perceptual, max_seconds=1e-9)
    assert len(once.history) == 1
    assert bool(once.ws.isfinite().all())


def test_progress_carries_detached_tensors(generator, planted, perceptual):
    seen = []
    project(
        named(generator),
        planted[1],
        perceptual=perceptual,
        steps=3,
        on_step=lambda step, total, values: seen.append((step, total, values)),
    )
    assert [(step, total) for step, total, _ in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[0][2]["images"].shape == (4, 3, 16, 16)
    assert not any(v.requires_grad for _, _, values in seen for v in values.values())


def test_optimised_noise_stays_white_and_normal(generator, planted, perceptual):
    found = project(named(generator), planted[1], perceptual=perceptual, steps=100)
    for x in found.noise:
        torch.testing.assert_close(x.mean(dim=(1, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(x.square().mean(dim=(1, 2, 3)), torch.ones(4))


def test_weights_and_targets_stay_untouched(planted, perceptual):
    generator = make_generator().requires_grad_(True)
    state = {key: value.clone() for key, value in generator.state_dict().items()}
    targets = planted[1].clone()
    project(named(generator), targets, perceptual=perceptual, steps=3)
    assert torch.equal(targets, planted[1])
    assert all(p.grad is None for p in generator.parameters())
    assert all(torch.equal(v, state[k]) for k, v in generator.state_dict().items())


def test_far_pictures_are_told_from_the_generators_own(generator, planted, perceptual):
    stripes = torch.ones(1, 3, 16, 16) * 4
    stripes[..., ::2] = -4
    gap = project(
        named(generator), torch.cat([planted[1], stripes]), perceptual=perceptual, steps=1
    ).domain_gap
    assert gap[:4].max() < DOMAIN_GAP_LIMIT < gap[4]


def test_pulling_towards_the_average_shortens_latents(generator, planted, perceptual):
    free = project(named(generator), planted[1], perceptual=perceptual, steps=50)
    held = project(
        named(generator), planted[1], perceptual=perceptual, steps=50, average_weight=10.0
    )
    z = torch.randn(1000, 16, generator=torch.Generator().manual_seed(0))
    centre = generator.map(z)[:, 0].mean(dim=0)
    assert (held.ws - centre).norm() < 0.7 * (free.ws - centre).norm()


def test_faulty_arguments(generator, planted, perceptual):
    target = planted[1]

    def message(images=target, **settings):
        with pytest.raises(ValueError, match=r".") as caught:
            project(named(generator), images, perceptual=perceptual, **settings)
        return str(caught.value)

    assert "targets: expected [N, 3, 16, 16]" in message(target[..., :8])
    assert "targets" in message(target[:0])
    assert "space" in message(space="s")
    assert "steps" in message(steps=0)
    assert "seeds: expected 4, got 1" in message(seeds=[0])
    assert "max_seconds" in message(max_seconds=0)
    assert "dtype: expected torch.float32 or torch.bfloat16" in message(dtype=torch.float16)
    assert "initial: expected" in message(initial=planted[0][:2])
    assert "initial: expected" in message(initial=planted[0][:, :1])
    assert "mask: expected [4 or 1, 1, 16, 16]" in message(mask=torch.ones(4, 16, 16))
    assert "mask: expected values" in message(mask=torch.full((1, 1, 16, 16), 2.0))
    assert "two_stage" in message(two_stage=True, optimize_noise=False)


def test_networks_that_cannot_be_projected_into(planted, perceptual):
    classes = named(make_generator(c_dim=3))
    with pytest.raises(GaneditError, match="needs a class, 0 to 2; choose one with --class"):
        project(classes, planted[1], perceptual=perceptual)
    with pytest.raises(ValueError, match="label: expected 3 numbers, got 2"):
        project(classes, planted[1], perceptual=perceptual, label=[0, 1])
    with pytest.raises(GaneditError, match="no classes"):
        project(named(make_generator()), planted[1], perceptual=perceptual, label=[1])
    grey = make_generator()
    grey.img_channels = 1
    with pytest.raises(GaneditError, match="pictures have 1 channels; photos have 3"):
        project(named(grey), planted[1], perceptual=perceptual)
    broken = make_generator()
    broken.synthesis.b4.const.fill_(1e38)
    broken.synthesis.b16.torgb.weight.fill_(1e38)
    with pytest.raises(GaneditError, match="not finite"):
        project(named(broken), planted[1], perceptual=perceptual, steps=2)


@pytest.mark.parametrize("index", [0, 2])
def test_a_class_is_where_the_search_starts(planted, perceptual, index):
    generator = make_generator(c_dim=3)
    label = [float(index == other) for other in range(3)]
    settings = {"steps": 1, "candidates": 1, "perceptual": perceptual, "space": "w"}
    found = project(named(generator), planted[1][:1], label=label, latent_noise=0.0, **settings)
    z = torch.randn(4000, 16, generator=torch.Generator().manual_seed(1))
    averages = [generator.map(z, row.expand(4000, -1))[:, 0].mean(dim=0) for row in torch.eye(3)]
    distances = [float((found.ws[0, 0] - average).norm()) for average in averages]
    assert distances[index] < 0.2 * min(distances[:index] + distances[index + 1 :])


def test_auto_takes_the_clay_space_only_where_it_belongs(generator):
    def choose(source, provenance):
        return default_perceptual(Network(generator, source, "", {"provenance": provenance}))

    assert choose("clay", {}) == "clay"
    assert choose("x.safetensors", {"perceptual": "clay"}) == "clay"
    assert choose("x.safetensors", {}) == "lpips"


@pytest.mark.parametrize("space", ["w", "w+"])
def test_a_given_start_is_where_the_search_begins(generator, planted, perceptual, space):
    settings = {"perceptual": perceptual, "steps": 1, "optimize_noise": False, "space": space}
    found = project(named(generator), planted[1], initial=planted[0], **settings)
    torch.testing.assert_close(found.ws, planted[0])
    assert found.history.max() < 1e-6
    one = project(named(generator), planted[1], initial=planted[0][:1], **settings)
    torch.testing.assert_close(one.ws, planted[0][:1].expand(4, -1, -1))


def test_a_latent_brings_its_noise_maps(generator, planted, perceptual):
    settings = {"perceptual": perceptual, "steps": 30}
    before = project(named(generator), planted[1], **settings)
    latent = before.latent(named(generator))
    after = project(named(generator), planted[1], initial=latent, **settings)
    assert torch.equal(after.history[0], before.history.amin(dim=0))
    assert bool((after.history.amin(dim=0) <= before.history.amin(dim=0)).all())
    other = Network(generator, "other", "sha256:1", {})
    with pytest.raises(GaneditError, match="belongs to another generator"):
        project(other, planted[1], initial=latent, **settings)


def test_what_a_mask_hides_changes_nothing_and_the_rest_is_met(generator, planted, perceptual):
    mask = torch.ones(1, 1, 16, 16)
    mask[..., 10:] = 0
    settings = {"perceptual": perceptual, "steps": 60, "optimize_noise": False, "mask": mask}
    found = project(named(generator), planted[1], **settings)
    scribbled = torch.where(mask > 0, planted[1], torch.ones(1))
    again = project(named(generator), scribbled, **settings)
    assert torch.equal(found.ws, again.ws)
    error = (again.images - planted[1]).square()[..., :10].mean(dim=(1, 2, 3))
    assert (error / planted[1].var(dim=(1, 2, 3))).max() < 0.05
    assert ((again.images - scribbled).square()[..., 10:].mean(dim=(1, 2, 3)) > error).all()


@pytest.mark.slow
def test_bfloat16_steps_end_as_close():
    heads = ganedit.render(ganedit.sample_factors(range(4))).image
    found = {
        dtype: project(ganedit.load("clay"), heads, steps=60, candidates=1, dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16)
    }
    wide, narrow = (one.distance.mean() for one in found.values())
    assert not torch.equal(wide, narrow)
    assert narrow == pytest.approx(float(wide), rel=0.02)
    half = found[torch.bfloat16]
    assert {x.dtype for x in (half.ws, *half.noise, half.images)} == {torch.float32}
    rendered = ganedit.load("clay").generator.synthesize(half.ws, noise=half.noise)
    assert torch.equal(rendered, half.images)


def test_a_mask_of_ones_is_no_mask(generator, planted, perceptual):
    settings = {"perceptual": perceptual, "steps": 5}
    free = project(named(generator), planted[1], **settings)
    masked = project(named(generator), planted[1], mask=torch.ones(4, 1, 16, 16), **settings)
    torch.testing.assert_close(free.history, masked.history)


def test_two_stages_move_latents_first_and_noise_maps_afterwards(generator, planted, perceptual):
    schedule = optimize._Schedule(2, steps=10, patience=100, staged=True)
    moving = []
    while not schedule.finished:
        moving.append([bool(x.all()) for x in schedule.moving()])
        schedule.advance(torch.tensor([1.0, 1.0]))
    assert moving == [[True, False]] * 5 + [[False, True]] * 5
    settings = {"perceptual": perceptual, "steps": 40, "patience": 100, "noise_regularization": 0.0}
    found = project(named(generator), planted[1], two_stage=True, **settings)
    half = optimize._Schedule(4, steps=40, patience=100)
    assert bool((found.history[21:].amin(dim=0) <= found.history[20]).all())
    assert half.moving()[0].min() == half.moving()[1].min() == 1
    stuck = optimize._Schedule(1, steps=100, patience=1, staged=True)
    places = []
    for _ in range(4):
        stuck.advance(torch.tensor([1.0]))
        places.append(round(float(stuck.position), 2))
    assert places == [0.01, 0.5, 0.75, 1]


def test_the_distance_from_the_average_is_told_in_typical_distances(generator, perceptual):
    z = torch.randn(500, 16, generator=torch.Generator().manual_seed(3))
    ws = generator.map(z)
    far = project(
        named(generator),
        generator.synthesize(ws),
        perceptual=perceptual,
        steps=1,
        initial=ws,
        optimize_noise=False,
    )
    assert far.deviation.square().mean().sqrt() == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_the_batch_hardly_changes_a_head_at_the_default_settings():
    clay, encoder = ganedit.load("clay"), ganedit.load_encoder("clay-encoder")
    heads = ganedit.render(ganedit.sample_factors(range(UNSEEN_SEED, UNSEEN_SEED + 3))).image

    def found(photos):
        result = project(clay, photos, initial=ganedit.encode(clay, encoder, photos))
        return result.distance, psnr(result.images, photos)

    together = found(heads)
    alone = [torch.cat(values) for values in zip(*map(found, heads.split(1)), strict=True)]
    torch.testing.assert_close(together[0], alone[0], rtol=0.04, atol=0)
    torch.testing.assert_close(together[1], alone[1], rtol=0, atol=0.2)
