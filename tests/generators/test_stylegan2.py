import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.generators import (
    Generator,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    seeded_noise,
)
from ganedit.generators.stylegan2 import (
    Convolution,
    SynthesisLayer,
    minibatch_std,
    normalize_second_moment,
)
from ganedit.ops import bias_act, upfirdn2d

TINY: dict[str, Any] = {"img_resolution": 16, "channel_base": 128, "channel_max": 8}


def make_generator(**settings: Any) -> StyleGAN2Generator:
    torch.manual_seed(0)
    generator = StyleGAN2Generator(
        **{**TINY, "z_dim": 16, "w_dim": 16, "mapping_layers": 2, **settings}
    )
    for layer in generator.synthesis.noisy_layers():
        layer.noise_strength.data.fill_(0.3)
    generator.mapping.w_avg.copy_(0.3 * torch.randn(16))
    return generator


def make_discriminator(**settings: Any) -> StyleGAN2Discriminator:
    torch.manual_seed(1)
    return StyleGAN2Discriminator(**{**TINY, **settings})


def images_of(generator: Generator, count: int = 2) -> Tensor:
    """What a caller that knows only the protocol does."""
    return generator.synthesize(generator.map(torch.randn(count, generator.z_dim)))


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_every_architecture_gives_float32_pictures_and_logits(architecture: Any) -> None:
    generator = make_generator(architecture=architecture)
    discriminator = make_discriminator(architecture=architecture)
    with torch.autocast("cpu", torch.bfloat16):
        images = images_of(generator)
        logits = discriminator(images)
    assert images.shape == (2, 3, 16, 16)
    assert images.dtype == logits.dtype == torch.float32
    assert images.is_contiguous()
    assert logits.shape == (2, 1)
    logits.sum().backward()
    for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_bfloat16_stays_near_float32() -> None:
    generator, discriminator = make_generator(), make_discriminator()
    ws = generator.map(torch.randn(4, 16))
    wanted = generator.synthesize(ws)
    wanted_logits = discriminator(wanted)
    with torch.autocast("cpu", torch.bfloat16):
        got = generator.synthesize(ws)
        got_logits = discriminator(wanted)
    assert (got - wanted).norm() < 0.02 * wanted.norm()
    assert (got_logits - wanted_logits).norm() < 0.05 * wanted_logits.norm()


def test_config_and_state_rebuild_the_networks() -> None:
    generator = make_generator(c_dim=3, architecture="resnet")
    twin = StyleGAN2Generator(**generator.config)
    twin.load_state_dict(generator.state_dict())
    z, c = torch.randn(2, 16), torch.eye(3)[:2]
    assert torch.equal(generator(z, c), twin(z, c))
    discriminator = make_discriminator(c_dim=3, freeze_layers=2)
    other = StyleGAN2Discriminator(**discriminator.config)
    other.load_state_dict(discriminator.state_dict())
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(discriminator(images, c), other(images, c))


def test_labels_change_the_picture_and_the_logits() -> None:
    generator, discriminator = make_generator(c_dim=3), make_discriminator(c_dim=3)
    z, labels = torch.randn(1, 16).expand(2, -1), torch.eye(3)[:2]
    first, second = generator(z, labels)
    assert (first - second).abs().max() > 1e-3
    images = first.expand(2, -1, -1, -1)
    logits = discriminator(images, labels)
    assert (logits[0] - logits[1]).abs() > 1e-5


def test_noise_modes() -> None:
    generator = make_generator()
    ws = generator.map(torch.randn(2, 16))
    const, none = generator.synthesize(ws), generator.synthesize(ws, noise="none")
    assert torch.equal(const, generator.synthesize(ws, noise=generator.noise_maps()))
    zeros = [torch.zeros(1, 1, *shape) for shape in generator.noise_shapes]
    torch.testing.assert_close(none, generator.synthesize(ws, noise=zeros))
    assert (const - none).abs().max() > 1e-3
    random = generator.synthesize(ws, noise="random")
    assert not torch.equal(random, generator.synthesize(ws, noise="random"))
    assert generator.noise_shapes == ((4, 4), (8, 8), (8, 8), (16, 16), (16, 16))


def test_given_noise_receives_gradients() -> None:
    generator = make_generator().requires_grad_(False)
    maps = [m.clone().requires_grad_() for m in generator.noise_maps()]
    generator.synthesize(generator.map(torch.randn(1, 16)), noise=maps).square().sum().backward()
    assert all(m.grad is not None and m.grad.abs().sum() > 0 for m in maps)


def test_a_seeds_noise_does_not_depend_on_the_batch() -> None:
    generator = make_generator()
    alone = seeded_noise(generator.noise_shapes, [7])
    batch = seeded_noise(generator.noise_shapes, [3, 7, 9])
    assert [tuple(m.shape) for m in batch] == [(3, 1, *s) for s in generator.noise_shapes]
    for one, many in zip(alone, batch, strict=True):
        assert torch.equal(one[0], many[1])
    ws = generator.map(torch.randn(3, 16))
    together = generator.synthesize(ws, noise=batch)
    torch.testing.assert_close(
        generator.synthesize(ws[1:2], noise=alone), together[1:2], atol=1e-5, rtol=1e-5
    )


def test_truncation_moves_the_first_layers_to_the_average() -> None:
    generator = make_generator()
    z = torch.randn(2, 16)
    full = generator.map(z)
    average = generator.w_avg.expand_as(full)
    torch.testing.assert_close(generator.map(z, truncation_psi=0), average)
    half = generator.map(z, truncation_psi=0.5, truncation_cutoff=2)
    torch.testing.assert_close(half[:, :2], (full + average)[:, :2] / 2)
    assert torch.equal(half[:, 2:], full[:, 2:])


def test_the_average_latent_is_tracked_only_when_asked() -> None:
    generator = make_generator(w_avg_beta=0.9)
    before = generator.w_avg.clone()
    z = torch.randn(8, 16)
    w = generator.mapping(z)[:, 0]
    assert torch.equal(generator.w_avg, before)
    generator.mapping(z, update_w_avg=True)
    torch.testing.assert_close(generator.w_avg, 0.9 * before + 0.1 * w.mean(dim=0))


def test_a_sample_does_not_depend_on_its_batch() -> None:
    generator = make_generator().eval()
    z = torch.randn(8, 16)
    torch.testing.assert_close(generator(z)[5:6], generator(z[5:6]), atol=1e-5, rtol=1e-5)


def test_a_frozen_generator_notices_changed_weights() -> None:
    generator = make_generator().eval().requires_grad_(False)
    ws = generator.map(torch.randn(1, 16))
    generator.synthesize(ws)
    twin = copy.deepcopy(generator)
    with torch.no_grad():
        for layer in twin.synthesis.noisy_layers():
            layer.weight.mul_(torch.rand(layer.weight.shape[1])[:, None, None])
    changed = twin.synthesize(ws)
    torch.testing.assert_close(changed, twin.requires_grad_(True).synthesize(ws))
    generator.load_state_dict(twin.state_dict())
    torch.testing.assert_close(changed, generator.synthesize(ws))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_r1_and_path_length_reach_every_weight(dtype: torch.dtype) -> None:
    generator, discriminator = make_generator(), make_discriminator()
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        logits = discriminator(images)
    (grad,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    grad.square().sum().backward()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        ws = generator.mapping(torch.randn(2, 16))
        pictures = generator.synthesis(ws, noise="random")
    (grad,) = torch.autograd.grad((pictures * torch.randn(16)).sum(), ws, create_graph=True)
    grad.square().sum(2).mean(1).sqrt().sum().backward()
    weights = {
        name: parameter
        for network in (generator, discriminator)
        for name, parameter in network.named_parameters()
        if name.endswith("weight")
    }
    for name, parameter in weights.items():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_second_gradient_of_the_whole_discriminator_is_exact() -> None:
    discriminator = make_discriminator().double()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    direction = torch.randn_like(images)

    def penalty(x: Tensor) -> Tensor:
        x = x.requires_grad_()
        (grad,) = torch.autograd.grad(F.softplus(discriminator(x)).sum(), x, create_graph=True)
        return grad.square().sum()

    value = penalty(images.clone())
    x = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(penalty(x), x)
    step = 1e-6
    numeric = (penalty(images + step * direction) - penalty(images - step * direction)) / (2 * step)
    torch.testing.assert_close((slope * direction).sum(), numeric.detach(), rtol=1e-3, atol=1e-7)
    assert value > 0


def test_clamp_bounds_every_layer() -> None:
    generator = make_generator(conv_clamp=0.1)
    seen: list[Tensor] = []
    for layer in generator.synthesis.noisy_layers():
        layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    images_of(generator)
    assert len(seen) == 5
    assert all(x.abs().max() <= 0.1 + 1e-6 for x in seen)


def test_networks_without_noise_equal_networks_whose_noise_is_off() -> None:
    noisy, plain = make_generator(), make_generator(use_noise=False)
    plain.load_state_dict(noisy.state_dict(), strict=False)
    assert not any("noise" in key for key in plain.state_dict())
    assert (plain.noise_shapes, plain.noise_maps()) == ((), ())
    ws = noisy.map(torch.randn(2, 16))
    wanted = noisy.synthesize(ws, noise="none")
    for noise in ("const", "random", "none", ()):
        assert torch.equal(plain.synthesize(ws, noise=noise), wanted)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("size", [1, 3])
def test_filters_of_any_length_are_aligned_as_the_definition_says(length: int, size: int) -> None:
    """Zero insertion, one filter, one plain convolution: what a resampling layer stands for."""
    taps = [float(tap) for tap in torch.rand(length) + 0.1]
    x = torch.randn(2, 4, 8, 8)
    around = size // 2
    f = torch.tensor(taps).outer(torch.tensor(taps)) / sum(taps) ** 2
    layer = Convolution(4, 5, kernel_size=size, up=2, resample_filter=taps)
    sides = (around + (length + 1) // 2, around + (length - 2) // 2) * 2
    smooth = upfirdn2d(x, f, up=2, padding=sides, gain=4)
    wanted = F.conv2d(smooth, layer.weight.flip(2, 3) * layer.weight_gain)
    torch.testing.assert_close(layer(x), wanted, atol=1e-5, rtol=1e-4)
    layer = Convolution(4, 5, kernel_size=size, down=2, resample_filter=taps)
    sides = (around + (length - 1) // 2, around + (length - 2) // 2) * 2
    smooth = upfirdn2d(x, f, padding=sides)
    wanted = F.conv2d(smooth, layer.weight * layer.weight_gain, stride=2)
    torch.testing.assert_close(layer(x), wanted, atol=1e-5, rtol=1e-4)


def filter_lengths(network: torch.nn.Module, block: str) -> dict[str, int]:
    """The layers of a block, and the block itself as "", with the length of their filters."""
    found = {
        key.rpartition("resample_filter")[0]: len(f)
        for key, f in network.state_dict().items()
        if key.startswith(f"{block}.") and key.endswith("resample_filter")
    }
    return {name.removeprefix(f"{block}.").rstrip("."): length for name, length in found.items()}


def test_only_resampling_layers_have_the_filter_that_was_asked_for() -> None:
    settings: dict[str, Any] = {"resample_filter": [1, 2, 1], "architecture": "resnet"}
    generator, discriminator = make_generator(**settings), make_discriminator(**settings)
    assert filter_lengths(generator.synthesis, "b8") == {"": 3, "conv0": 3, "conv1": 4, "skip": 3}
    wanted = {"": 3, "fromrgb": 4, "conv0": 4, "conv1": 3, "skip": 3}
    assert filter_lengths(discriminator, "b16") == wanted
    assert discriminator(images_of(generator)).shape == (2, 1)


@pytest.mark.parametrize("act", ["linear", "relu", "lrelu", "tanh", "elu", "swish", "softplus"])
def test_activations_are_applied_with_their_own_gain(act: Any) -> None:
    layer = SynthesisLayer(3, 4, w_dim=5, resolution=8, activation=act).requires_grad_(False)
    layer.bias.normal_()
    layer.noise_strength.fill_(0.5)
    x, w = torch.randn(2, 3, 8, 8), torch.randn(2, 5)
    weight = layer.weight * layer.affine(w)[:, None, :, None, None]
    weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    y = torch.cat([F.conv2d(x[n : n + 1], weight[n], padding=1) for n in range(2)])
    y = bias_act(y + 0.5 * layer.noise_const, layer.bias, act=act)
    torch.testing.assert_close(layer(x, w), y, atol=1e-5, rtol=1e-4)


def test_widths_of_the_mapping() -> None:
    generator = make_generator(mapping_layers=3, mapping_features=12, c_dim=3, embed_features=5)
    shapes = {key: list(value.shape) for key, value in generator.mapping.state_dict().items()}
    assert shapes["embed.weight"] == [5, 3]
    assert [shapes[f"fc{i}.weight"] for i in range(3)] == [[12, 21], [12, 12], [16, 12]]
    flat = make_discriminator(c_dim=3, mapping_layers=0)
    images = torch.randn(3, 3, 16, 16)
    cmap = normalize_second_moment(flat.mapping.embed(torch.eye(3)))
    assert torch.equal(flat.mapping(None, torch.eye(3)), cmap)
    assert flat(images, torch.eye(3)).shape == (3, 1)


def test_a_discriminator_may_have_no_statistics() -> None:
    discriminator = make_discriminator(mbstd_num_channels=0)
    images = torch.randn(4, 3, 16, 16)
    together = discriminator(images)
    alone = torch.cat([discriminator(images[n : n + 1]) for n in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_minibatch_std_groups_with_stride() -> None:
    x = torch.randn(6, 4, 2, 2)
    got = minibatch_std(x, group_size=3, num_channels=2)
    assert got.shape == (6, 6, 2, 2)
    assert torch.equal(got[:, :4], x)
    for n in range(6):
        group = x[n % 2 :: 2].reshape(3, 2, 2, 2, 2)
        spread = (group.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
        torch.testing.assert_close(got[n, 4:], spread[:, None, None].expand(2, 2, 2))


def test_freezing_counts_layers_from_the_picture() -> None:
    discriminator = make_discriminator(freeze_layers=6)
    frozen = {
        name.rsplit(".", 1)[0]
        for name, parameter in discriminator.named_parameters()
        if not parameter.requires_grad
    }
    assert frozen == {"b16.fromrgb", "b16.conv0", "b16.conv1", "b16.skip", "b8.conv0", "b8.conv1"}
    assert len(discriminator.freezable_layers()) == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, d: g.map(torch.zeros(2, 5)), r"z: expected \[N, 16\], got \[2, 5\]"),
        (lambda g, d: g.map(torch.zeros(2, 16), torch.zeros(2, 3)), "takes no labels"),
        (lambda g, d: g.synthesize(torch.zeros(2, 5, 16)), r"ws: expected \[N, 6, 16\]"),
        (lambda g, d: g.synthesize(torch.zeros(1, 6, 16), noise="x"), "noise: expected const"),
        (lambda g, d: g.synthesize(torch.zeros(1, 6, 16), noise=[]), "expected 5 maps, got 0"),
        (
            lambda g, d: g.synthesize(torch.zeros(1, 6, 16), noise=[torch.zeros(1, 1, 4, 4)] * 5),
            r"noise\[1\]: expected \[1 or 1, 1, 8, 8\]",
        ),
        (lambda g, d: d(torch.zeros(2, 3, 8, 8)), r"images: expected \[N, 3, 16, 16\]"),
        (lambda g, d: d(torch.zeros(5, 3, 16, 16)), "batch divisible by 4"),
        (lambda g, d: d(torch.zeros(4, 3, 16, 16), torch.zeros(4, 2)), "takes no labels"),
        (lambda g, d: StyleGAN2Generator(img_resolution=48), "power of two from 8, got 48"),
        (lambda g, d: make_generator(architecture="x"), "skip, resnet or orig, got 'x'"),
        (lambda g, d: make_discriminator(freeze_layers=8), "freeze_layers: expected 0 to 7"),
        (lambda g, d: make_generator(activation="x"), "activation: expected linear, relu, .*'x'"),
        (lambda g, d: make_generator(mapping_layers=0, w_dim=8), "num_layers: 0 needs an input"),
        (lambda g, d: make_generator(c_dim=3).map(torch.zeros(2, 16)), r"c: expected \[2, 3\]"),
        (lambda g, d: make_discriminator(c_dim=3)(torch.zeros(4, 3, 16, 16)), r"c: expected \["),
    ],
)
def test_wrong_arguments_say_what_was_wanted(call: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(make_generator(), make_discriminator())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"conv_clamp": "1"}, "conv_clamp: expected a positive number or None, got '1'"),
        ({"conv_clamp": 0}, "conv_clamp: expected a positive number or None, got 0"),
        ({"conv_clamp": -1}, "conv_clamp: expected a positive number or None, got -1"),
        ({"conv_clamp": float("nan")}, "conv_clamp: .* got nan"),
        ({"c_dim": -1}, "c_dim: expected a whole number from 0, got -1"),
        ({"img_channels": 3.0}, "img_channels: expected a whole number from 1, got 3.0"),
        ({"img_resolution": True}, "img_resolution: expected a power of two from 8, got True"),
        ({"mapping_lr_multiplier": True}, "mapping_lr_multiplier: expected a positive number"),
        ({"mapping_features": 0}, "mapping_features: expected a whole number from 1 or None"),
        ({"mapping_activation": []}, r"mapping_activation: expected linear, .* got \[\]"),
        ({"channel_base": 8}, "channel_base: expected at least 16, got 8"),
        ({"resample_filter": 3}, "resample_filter: expected up to 64 numbers .* got 3"),
        ({"resample_filter": [1, -1]}, "resample_filter: .* that do not sum to zero"),
        ({"resample_filter": [[1, 2], [3]]}, "resample_filter: .* or rows of them"),
        ({"resample_filter": [[1], 2]}, "resample_filter: .* or rows of them"),
        ({"resample_filter": [1] * 65}, "resample_filter: expected up to 64"),
        ({"channels": [8, 8, 8]}, "channels: expected counts at 4, 8, 16, got"),
        ({"channels": {"4": 8, "8": 8}}, "channels: expected counts at 4, 8, 16, got"),
        ({"channels": {"4": 8, "8": 8, "16": 0}}, "16: expected a whole number from 1, got 0"),
    ],
)
def test_wrong_settings_say_what_was_wanted(settings: dict[str, Any], message: str) -> None:
    for make in (make_generator, make_discriminator):
        with pytest.raises(ValueError, match=message):
            make(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"w_avg_beta": "a"}, "w_avg_beta: expected a number from 0 to 1, got 'a'"),
        ({"w_avg_beta": 1.5}, "w_avg_beta: expected a number from 0 to 1, got 1.5"),
        ({"use_noise": "no"}, "use_noise: expected True or False, got 'no'"),
        ({"z_dim": 0}, "z_dim: expected a whole number from 1, got 0"),
    ],
)
def test_wrong_settings_of_the_generator(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_generator(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mbstd_num_channels": 3}, "mbstd_num_channels: expected a divisor of 8, got 3"),
        ({"mbstd_group_size": 0}, "mbstd_group_size: expected a whole number from 1 or None"),
        ({"cmap_dim": 0}, "cmap_dim: expected a whole number from 1 or None"),
        ({"freeze_layers": -1}, "freeze_layers: expected a whole number from 0, got -1"),
        ({"epilogue_activation": "x"}, "epilogue_activation: expected linear"),
    ],
)
def test_wrong_settings_of_the_discriminator(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_discriminator(**settings)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_a_table_of_channels_overrides_the_rule(architecture: Any) -> None:
    table = {"4": 6, "8": 4, "16": 10}
    settings: dict[str, Any] = {"channels": table, "architecture": architecture}
    generator, discriminator = make_generator(**settings), make_discriminator(**settings)
    for size, count in table.items():
        block = generator.synthesis.get_submodule(f"b{size}")
        assert block.get_parameter("conv1.bias").shape == (count,)
    assert discriminator(images_of(generator)).shape == (2, 1)
    assert discriminator.get_parameter("b16.conv0.weight").shape == (10, 10, 3, 3)
    assert discriminator.get_parameter("b16.conv1.weight").shape == (4, 10, 3, 3)
    again = StyleGAN2Generator(**generator.config)
    again.load_state_dict(generator.state_dict())
