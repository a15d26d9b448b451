import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ganedit.generators import StyleGAN3Generator, image_transform
from ganedit.generators.stylegan3 import lowpass_filter, plan_bands

RADIAL = {"conv_kernel": 1, "use_radial_filters": True}


def make(*, seed: int = 0, size: int = 16, **settings) -> StyleGAN3Generator:
    torch.manual_seed(seed)
    arguments = {
        "z_dim": 12,
        "w_dim": 16,
        "img_resolution": size,
        "channel_base": 16 * size,
        "channel_max": 12,
        "num_layers": 6,
    }
    generator = StyleGAN3Generator(**arguments | settings)
    with torch.no_grad():
        for name, value in generator.state_dict().items():
            if name.endswith("magnitude_ema"):
                value.copy_(torch.rand([]) + 0.5)
            if name.endswith("bias") and "affine" not in name:
                value.copy_(0.1 * torch.randn_like(value))
        generator.synthesis.input.affine.weight.copy_(0.3 * torch.randn(4, 16))
        generator.w_avg.copy_(0.3 * torch.randn(16))
    return generator.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def ws() -> Tensor:
    return make().map(torch.randn(4, 12, generator=torch.Generator().manual_seed(1)))


# The protocol


@pytest.mark.parametrize("settings", [{}, RADIAL, {"img_channels": 1, "c_dim": 3}])
def test_it_follows_the_protocol(settings):
    generator = make(size=32, **settings)
    channels, c_dim = generator.img_channels, generator.c_dim
    c = torch.eye(3)[:2] if c_dim else None
    z = torch.randn(2, 12)
    ws = generator.map(z, c, truncation_psi=0.7, truncation_cutoff=3)
    assert ws.shape == (2, generator.num_ws, 16) == (2, 8, 16)
    image = generator.synthesize(ws)
    assert image.shape == (2, channels, 32, 32)
    assert image.dtype == torch.float32
    assert torch.equal(generator(z, c, truncation_psi=0.7, truncation_cutoff=3), image)
    assert generator.noise_shapes == generator.noise_maps() == ()
    again = StyleGAN3Generator(**generator.config)
    again.load_state_dict(generator.state_dict())
    assert torch.equal(again.synthesize(ws), image)


def test_layers_have_nvidias_names():
    """Those of the published 1024-pixel networks; built without memory."""
    with torch.device("meta"):
        generator = StyleGAN3Generator(img_resolution=1024)
    assert generator.num_ws == 16
    assert generator.synthesis.layer_names == [
        "L0_36_512",
        "L1_36_512",
        "L2_52_512",
        "L3_52_512",
        "L4_84_512",
        "L5_148_512",
        "L6_148_512",
        "L7_276_323",
        "L8_276_203",
        "L9_532_128",
        "L10_1044_81",
        "L11_1044_51",
        "L12_1044_32",
        "L13_1024_32",
        "L14_1024_3",
    ]
    keys = list(generator.state_dict())
    assert keys[-5:] == [
        "mapping.w_avg",
        "mapping.fc0.weight",
        "mapping.fc0.bias",
        "mapping.fc1.weight",
        "mapping.fc1.bias",
    ]
    assert "synthesis.L14_1024_3.up_filter" not in keys


@pytest.mark.parametrize("settings", [{}, RADIAL])
def test_a_picture_never_depends_on_its_batch(settings, ws):
    generator = make(**settings)
    together = generator.synthesize(ws)
    alone = torch.cat([generator.synthesize(row) for row in ws.split(1)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    gradients = []
    for pieces in (1, 4):
        given = ws.clone().requires_grad_()
        for part in given.split(pieces):
            generator.synthesize(part).square().sum().backward()
        gradients.append(given.grad)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


def test_the_scale_of_styles_and_weights_does_not_matter(ws):
    """Demodulation takes it out, whatever the reference normalises before."""
    generator, scaled = make(), make()
    with torch.no_grad():
        layer = scaled.synthesis.L2_36_12
        layer.weight.mul_(3)
        layer.affine.weight.mul_(0.2)
        layer.affine.bias.mul_(0.2)
    torch.testing.assert_close(
        generator.synthesize(ws), scaled.synthesize(ws), atol=1e-5, rtol=1e-5
    )


def test_gradients_of_second_order_are_right(ws):
    generator = make(size=8, num_layers=3, channel_max=4).double()
    w = ws[:1, : generator.num_ws].double().requires_grad_()
    direction = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    check = {"fast_mode": True, "atol": 1e-6}

    def run(w: Tensor) -> Tensor:
        return (generator.synthesis(w) * direction).sum()

    assert torch.autograd.gradcheck(run, w, **check)
    assert torch.autograd.gradgradcheck(run, w, **check)


# Moving the picture


@pytest.mark.parametrize("settings", [{}, RADIAL])
def test_the_picture_follows_a_translation(settings, ws):
    generator = make(size=32, **settings)
    picture = generator.synthesize(ws)
    assert picture.std() > 0.02
    right = generator.synthesize(ws, transform=image_transform(translate=(0.25, 0)))
    down = generator.synthesize(ws, transform=image_transform(translate=(0, 0.25)))
    # The margins' zeros move not, and reach a few pixels into the picture.
    torch.testing.assert_close(right[..., 4:-4, 12:-4], picture[..., 4:-4, 4:-12], **near())
    torch.testing.assert_close(down[..., 12:-4, 4:-4], picture[..., 4:-12, 4:-4], **near())


def test_configuration_r_follows_rotations_and_t_does_not(ws):
    turned = image_transform(rotate=90)
    for settings, follows in (({}, False), (RADIAL, True)):
        generator = make(size=32, **settings)
        wanted = torch.rot90(generator.synthesize(ws), 1, (2, 3))  # counter-clockwise
        got = generator.synthesize(ws, transform=turned)
        difference = (got - wanted)[..., 4:-4, 4:-4].abs().max()
        assert (difference < 1e-5) == follows
        assert follows or difference > 0.1


def near() -> dict[str, float]:
    return {"atol": 5e-5, "rtol": 0}


def test_a_transform_replaces_the_stored_one_for_each_picture(ws):
    generator, moved = make(), make()
    transforms = torch.stack([image_transform(translate=(x, 0.1), rotate=9) for x in (0, 0.2)])
    got = generator.synthesize(ws[:2], transform=transforms)
    for index in range(2):
        moved.synthesis.input.transform.copy_(transforms[index])
        one = ws[index : index + 1]
        torch.testing.assert_close(got[index : index + 1], moved.synthesize(one), **near())
        torch.testing.assert_close(
            generator.synthesize(one), moved.synthesize(one, transform=torch.eye(3)), **near()
        )
    assert torch.equal(generator.synthesis.input.transform, torch.eye(3))


def test_image_transform_is_the_inverse_of_the_movement():
    angle = math.radians(30)
    movement = torch.tensor(  # as NVIDIA's gen_images.py states it
        [
            [math.cos(angle), math.sin(angle), 0.25],
            [-math.sin(angle), math.cos(angle), -0.1],
            [0, 0, 1],
        ]
    )
    got = image_transform(translate=(0.25, -0.1), rotate=30)
    torch.testing.assert_close(got @ movement, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.equal(image_transform(), torch.eye(3))


# Design


def test_the_separable_filter_is_a_windowed_sinc():
    taps, cutoff, width, rate = 12, 2.0, 2 * 12.0, 64.0
    got = lowpass_filter(taps, cutoff=cutoff, width=width, sampling_rate=rate)
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    beta = 0.1102 * (attenuation - 8.7)
    time = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    ideal = torch.sinc(2 * cutoff * time)
    wanted = ideal * torch.kaiser_window(taps, False, beta, dtype=torch.float64)
    torch.testing.assert_close(got, (wanted / wanted.sum()).float())
    assert lowpass_filter(1, cutoff=cutoff, width=width, sampling_rate=rate) is None


@pytest.mark.parametrize(("taps", "width"), [(12, 12.0), (15, 9.0), (96, 2.0)])
def test_the_radial_filter_is_a_windowed_jinc(taps, width):
    cutoff, rate = 24.0, 128.0
    got = lowpass_filter(taps, cutoff=cutoff, width=width, sampling_rate=rate, radial=True)
    time = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    r = torch.hypot(time[:, None], time).clamp_min(1e-9)  # the centre is a limit
    ideal = torch.special.bessel_j1(2 * math.pi * cutoff * r) / (math.pi * r)
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    window = torch.as_tensor(np.kaiser(taps, beta))
    wanted = ideal * torch.outer(window, window)
    torch.testing.assert_close(got, (wanted / wanted.sum()).float())


def test_bands_widen_up_to_the_critical_layers():
    bands = plan_bands(
        img_resolution=256,
        img_channels=3,
        channel_base=8192,
        channel_max=512,
        num_layers=14,
        num_critical=2,
        first_cutoff=2,
        first_stopband=2**2.1,
        last_stopband_rel=2**0.3,
        margin_size=10,
    )
    assert bands[0].cutoff == 2
    assert [band.cutoff for band in bands[12:]] == [128.0] * 3
    assert [band.size for band in bands[12:]] == [276, 256, 256]
    assert all(a.cutoff <= b.cutoff for a, b in itertools.pairwise(bands))
    assert bands[-1].channels == 3


# Bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"img_resolution": 48}, "img_resolution: expected a power of two from 8, got 48"),
        ({"num_layers": 2}, "num_layers: expected more than num_critical"),
        ({"num_critical": -1}, "num_critical: expected a whole number from 0"),
        ({"first_cutoff": 0}, "first_cutoff: expected a positive number"),
        ({"first_cutoff": 9}, "first_cutoff: expected at most 8"),
        ({"first_stopband": 1}, "first_stopband: expected more than first_cutoff"),
        ({"first_cutoff": 0.1, "first_stopband": 0.2}, "first_stopband: .* at least 1"),
        ({"filter_size": 3000}, "taps: expected at most 4096, got 6000"),
        ({"filter_size": 50, **RADIAL}, "taps: expected at most 96, got 100"),
        ({"last_stopband_rel": 0.5}, "last_stopband_rel: expected at least 1"),
        ({"conv_kernel": 0}, "conv_kernel: expected a whole number from 1"),
        ({"filter_size": 0}, "filter_size: expected a whole number from 1"),
        ({"lrelu_upsampling": 0}, "lrelu_upsampling: expected a whole number from 1"),
        ({"conv_clamp": -1}, "conv_clamp: expected a positive number or None"),
        ({"conv_clamp": "1"}, "conv_clamp: expected a positive number or None"),
        ({"use_radial_filters": "no"}, "use_radial_filters: expected True or False"),
        ({"magnitude_ema_beta": 2}, "magnitude_ema_beta: expected a number from 0 to 1"),
        ({"output_scale": math.nan}, "output_scale: expected a finite number"),
        ({"z_dim": True}, "z_dim: expected a whole number from 1, got True"),
        ({"channel_base": 0}, "channel_base: expected enough for one channel"),
    ],
)
def test_wrong_configurations_say_what_was_wanted(settings, message):
    with pytest.raises(ValueError, match=message):
        StyleGAN3Generator(**{"img_resolution": 16} | settings)


def test_wrong_arguments_say_what_was_wanted(ws):
    generator = make()
    with pytest.raises(ValueError, match=r"ws: expected \[N, 8, 16\], got \[4, 7, 16\]"):
        generator.synthesize(ws[:, 1:])
    with pytest.raises(ValueError, match="noise: expected 0 maps, got 2"):
        generator.synthesize(ws, noise=(torch.zeros(1, 1, 4, 4),) * 2)
    with pytest.raises(ValueError, match="noise: expected const, random, none or maps"):
        generator.synthesize(ws, noise="loud")
    with pytest.raises(ValueError, match=r"transform: expected \[3, 3\] or \[4, 3, 3\], got \[2"):
        generator.synthesize(ws, transform=torch.eye(3).expand(2, 3, 3))
    for noise in ("const", "random", "none", ()):
        assert torch.equal(generator.synthesize(ws, noise=noise), generator.synthesize(ws))
    with pytest.raises(ValueError, match="image_transform: expected two finite numbers"):
        image_transform(translate=(0.1, math.nan))
    with pytest.raises(ValueError, match="image_transform: expected two finite numbers"):
        image_transform(rotate=math.inf)
