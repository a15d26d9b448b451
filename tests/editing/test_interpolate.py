import math
from dataclasses import replace

import pytest
import torch

from ganedit.editing import combine, ease, interpolate, lerp, plan_path, sample, slerp, synthesize
from ganedit.errors import GaneditError
from ganedit.io import Alignment, Latent


def latent(seed: int, *, noise: bool = False, rows: int = 1, **changes) -> Latent:
    random = torch.Generator().manual_seed(seed)
    fields = {
        "ws": torch.randn(rows, 6, 16, generator=random),
        "space": "w+",
        "fingerprint": "sha256:abc",
        "network": "clay",
        "noise": None,
        "names": tuple(f"s{seed}r{row}" for row in range(rows)),
    }
    if noise:
        shapes = ((1, 1, 8, 8), (1, 1, 16, 16))
        fields["noise"] = tuple(torch.randn(*shape, generator=random) for shape in shapes)
    return Latent(**(fields | changes))


@pytest.mark.parametrize("between", [lerp, slerp])
def test_the_ends_are_met_to_the_bit(between):
    a, b = torch.randn(3, 7, 16), torch.randn(3, 7, 16) * 1e4
    a[0, 0] = -0.0
    for t, end in ((0, a), (1, b)):
        assert torch.equal(between(a, b, t).view(torch.int32), end.view(torch.int32))


def test_slerp_keeps_the_angular_speed_and_the_length():
    a, b = torch.tensor([3.0, 0, 0]), torch.tensor([0.0, 3, 0])
    for t in (0.25, 0.5, 0.9):
        angle = t * math.pi / 2
        expected = torch.tensor([3 * math.cos(angle), 3 * math.sin(angle), 0])
        torch.testing.assert_close(slerp(a, b, t), expected)


def test_slerp_turns_around_its_centre():
    centre = torch.tensor([10.0, 10.0])
    a, b = centre + torch.tensor([1.0, 0]), centre + torch.tensor([0.0, 1])
    middle = slerp(a, b, 0.5, centre=centre)
    torch.testing.assert_close((middle - centre).norm(), torch.tensor(1.0))


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0, 0.0])
def test_slerp_of_parallel_opposite_and_zero_vectors_is_lerp(factor):
    a = torch.randn(4, 8)
    torch.testing.assert_close(slerp(a, a * factor, 0.3), lerp(a, a * factor, 0.3))


@pytest.mark.parametrize("easing", ["linear", "smooth", "smoother", "in", "out"])
def test_easing_keeps_the_ends_and_never_turns_back(easing):
    t = torch.linspace(0, 1, 101)
    eased = ease(t, easing)
    assert eased[0] == 0
    assert eased[-1] == 1
    assert (eased.diff() >= 0).all()


def test_unknown_easing_and_mode_are_programming_errors():
    with pytest.raises(ValueError, match="easing"):
        ease(torch.zeros(1), "bouncy")
    with pytest.raises(ValueError, match="mode"):
        interpolate([latent(1), latent(2)], mode="cubic")
    with pytest.raises(ValueError, match="frames"):
        interpolate([latent(1), latent(2)], frames=1)


@pytest.mark.parametrize("mode", ["lerp", "slerp"])
@pytest.mark.parametrize("easing", ["linear", "smooth", "out"])
def test_a_path_meets_every_key_to_the_bit(mode, easing):
    keys = [latent(seed) for seed in (1, 2, 3)]
    path = interpolate(keys, frames=5, mode=mode, easing=easing)
    assert len(path) == 9
    for index, key in enumerate(keys):
        assert torch.equal(path.ws[4 * index], key.ws[0])


def test_two_keys_give_as_many_frames_as_asked():
    assert len(interpolate([latent(1), latent(2)], frames=60)) == 60
    assert len(interpolate([latent(1), latent(2)], frames=2)) == 2


def test_a_loop_returns_and_repeats_no_frame():
    keys = [latent(seed) for seed in (1, 2)]
    path = interpolate(keys, frames=4, loop=True)
    assert len(path) == 6
    assert torch.equal(path.ws[0], keys[0].ws[0])
    assert torch.equal(path.ws[3], keys[1].ws[0])
    torch.testing.assert_close(path.ws[4], path.ws[2])


def test_rows_of_one_file_are_keys():
    both = latent(1, rows=2)
    path = interpolate([both], frames=3)
    assert torch.equal(path.ws[0], both.ws[0])
    assert torch.equal(path.ws[2], both.ws[1])


def test_a_line_is_straight():
    a, b = latent(1), latent(2)
    path = interpolate([a, b], frames=5)
    torch.testing.assert_close(path.ws[1], (0.75 * a.ws + 0.25 * b.ws)[0])


def test_noise_maps_meet_the_keys_and_keep_their_variance():
    keys = [latent(seed, noise=True) for seed in (1, 2, 3)]
    path = interpolate(keys, frames=9)
    for layer, maps in enumerate(path.noise):
        assert maps.shape == (17, 1, *keys[0].noise[layer].shape[2:])
        for index, key in enumerate(keys):
            assert torch.equal(maps[8 * index], key.noise[layer][0])
    assert (path.noise[1].square().mean((1, 2, 3)) - 1).abs().max() < 0.2
    assert len(interpolate(keys, frames=9, loop=True).noise[0]) == 24


def test_the_generators_own_noise_stands_in_where_a_latent_has_none(network):
    noisy, plain = sample(network, [1], noise="random"), sample(network, [2])
    path = interpolate([noisy, plain], frames=3, network=network)
    frames = list(synthesize(network, path, batch_size=1))
    assert torch.equal(frames[0], next(synthesize(network, noisy)))
    assert torch.equal(frames[2], next(synthesize(network, plain)))
    own = network.generator.noise_maps()
    assert all(torch.equal(m[2:], o) for m, o in zip(path.noise, own, strict=True))
    mixed = combine([noisy, plain, sample(network, [3])], [0.5, 0.5, 0], network=network)
    assert mixed.noise is not None
    assert combine([noisy, plain], [0, 1]).noise is None


def test_some_noise_without_its_generator_is_refused():
    for edit in (interpolate, lambda keys: combine(keys, [0.5, 0.5])):
        with pytest.raises(GaneditError, match="give network="):
            edit([latent(1, noise=True), latent(2)])


def test_noise_maps_of_different_shapes_are_refused():
    noisy = latent(1, noise=True)
    for maps in (noisy.noise[:1], noisy.noise[::-1]):
        other = replace(latent(2), noise=maps)
        with pytest.raises(GaneditError, match="noise maps of different shapes: those of s2r0"):
            interpolate([latent(3), noisy, other])


@pytest.mark.parametrize("mode", ["lerp", "slerp"])
@pytest.mark.parametrize("loop", [False, True])
def test_frames_asked_one_by_one_are_those_of_the_path(mode, loop):
    keys = [latent(seed, noise=True) for seed in (1, 2, 3)]
    path = plan_path(keys, frames=4, mode=mode, loop=loop, easing="smooth")
    whole = interpolate(keys, frames=4, mode=mode, loop=loop, easing="smooth")
    assert len(path) == len(whole)
    for index in range(len(path)):
        assert torch.equal(path.rows(index, index + 1).ws, whole.ws[index : index + 1])
    assert torch.equal(path.rows(2, 5).noise[1], whole.noise[1][2:5])
    for start, stop in ((-1, 1), (2, 2), (0, len(path) + 1)):
        with pytest.raises(ValueError, match="rows"):
            path.rows(start, stop)


def test_a_path_may_be_long_but_not_endless():
    keys = [latent(1), latent(2)]
    path = plan_path(keys, frames=100_000)
    assert torch.equal(path.rows(99_999, 100_000).ws, keys[1].ws)
    with pytest.raises(GaneditError, match="a path of 199998 frames is too long; up to 100000"):
        plan_path(keys, frames=100_000, loop=True)


def test_weights_mix_linearly():
    keys = [latent(seed) for seed in (1, 2, 3)]
    mixed = combine(keys, [0.5, 0.3, 0.2])
    expected = 0.5 * keys[0].ws + 0.3 * keys[1].ws + 0.2 * keys[2].ws
    torch.testing.assert_close(mixed.ws, expected)
    assert mixed.names == ("s1r0+s2r0+s3r0",)


def test_a_single_weight_of_one_is_that_latent_to_the_bit():
    keys = [latent(seed, noise=True) for seed in (1, 2, 3)]
    assert torch.equal(combine(keys, [0, 1, 0]).ws, keys[1].ws)
    assert combine(keys, [0, 1, 0]).noise[0] is keys[1].noise[0]


def test_combined_noise_keeps_its_variance():
    keys = [latent(seed, noise=True) for seed in (1, 2)]
    mixed = combine(keys, [0.5, 0.5])
    assert abs(mixed.noise[1].square().mean() - 1) < 0.2


@pytest.mark.parametrize("weights", [[0.5, 0.4], [1, 1], [0.2, 0.2], [1e6, 2 - 1e6]])
def test_weights_that_do_not_sum_to_one_are_refused(weights):
    with pytest.raises(GaneditError, match="must sum to 1"):
        combine([latent(1), latent(2)], weights)


@pytest.mark.parametrize(
    "weights", [[math.nan, 1], [math.inf, 0], [math.inf, -math.inf], [1e308, -1e308], [1e7, 1]]
)
def test_weights_beyond_reason_are_refused(weights):
    with pytest.raises(GaneditError, match="weights must be numbers from -1000000 to 1000000"):
        combine([latent(1), latent(2)], weights)


def test_a_wrong_number_of_weights_is_refused():
    with pytest.raises(GaneditError, match="2 latents need 2 weights, got 3"):
        combine([latent(1), latent(2)], [0.5, 0.3, 0.2])


def test_rounded_thirds_are_accepted():
    combine([latent(seed) for seed in (1, 2, 3)], [1 / 3, 1 / 3, 1 / 3])


def test_latents_that_do_not_belong_together_are_refused():
    a = latent(1)
    with pytest.raises(GaneditError, match="different generators"):
        interpolate([a, latent(2, fingerprint="sha256:def", network="other")])
    with pytest.raises(GaneditError, match="different shapes: s1r0 is 6x16, s2r0 is 10x16"):
        interpolate([a, latent(2, ws=torch.zeros(1, 10, 16))])
    with pytest.raises(GaneditError, match="two or more"):
        interpolate([a])


def test_the_space_is_w_only_when_all_are():
    keys = [latent(1, space="w"), latent(2, space="w")]
    assert interpolate(keys).space == "w"
    assert interpolate([*keys, latent(3)]).space == "w+"
    assert combine([replace(keys[0], space="w+"), keys[1]], [0.5, 0.5]).space == "w+"


def place(name: str) -> Alignment:
    return Alignment(name, (40, 30), ((5.0, 5.0), (5.0, 25.0), (25.0, 25.0), (25.0, 5.0)))


def test_all_frames_belong_where_the_first_aligned_key_does():
    keys = [latent(1), latent(2, alignment=(place("a.jpg"),)), latent(3)]
    keys.append(latent(4, alignment=(place("b.jpg"),)))
    assert interpolate(keys, frames=3, loop=True).alignment == (place("a.jpg"),) * 8
    assert interpolate([keys[0], keys[2]], frames=3).alignment == ()


def test_a_combination_belongs_where_its_first_aligned_part_does():
    keys = [latent(seed, alignment=(place(f"{seed}.jpg"),)) for seed in (1, 2, 3)]
    assert combine(keys, [0, 0.5, 0.5]).alignment == (place("2.jpg"),)
    assert combine([latent(4), keys[2]], [0.5, 0.5]).alignment == (place("3.jpg"),)
    assert combine([latent(4), keys[2]], [1, 0]).alignment == ()
