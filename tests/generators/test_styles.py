import pytest
import torch

from ganedit.generators import StyleGAN2Generator, StyleGAN3Generator
from ganedit.runtime import seeded_normal

KINDS = {
    "skip": lambda: StyleGAN2Generator(
        z_dim=8, w_dim=8, img_resolution=16, mapping_layers=1, channel_base=128, channel_max=8
    ),
    "resnet": lambda: StyleGAN2Generator(
        z_dim=8, w_dim=8, img_resolution=16, mapping_layers=1, channel_base=128, channel_max=8,
        architecture="resnet",
    ),
    "stylegan3": lambda: StyleGAN3Generator(
        z_dim=8, w_dim=8, img_resolution=16, mapping_layers=1, channel_base=128, channel_max=8,
        num_layers=4, margin_size=4,
    ),
}  # fmt: skip


@pytest.fixture(params=list(KINDS))
def generator(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return KINDS[request.param]().eval().requires_grad_(False)


@pytest.fixture
def ws(generator):
    z = seeded_normal([1, 2], (2, generator.num_ws, generator.w_dim)[1:])
    return z.reshape(2, generator.num_ws, generator.w_dim)


def test_style_layers_say_how_wide_the_styles_are(generator, ws):
    layers, styles = generator.style_layers, generator.styles(ws)
    assert [layer.channels for layer in layers] == [style.shape[1] for style in styles]
    assert len({layer.name for layer in layers}) == len(layers)
    assert layers[-1].kind == "rgb"
    assert layers[-1].resolution == generator.img_resolution
    assert all(generator.get_submodule(f"synthesis.{layer.name}") for layer in layers)


def test_every_latent_is_read_by_the_layers_that_say_so(generator, ws):
    before = generator.styles(ws)
    for index in range(generator.num_ws):
        moved = ws.clone()
        moved[:, index] += 1
        after = generator.styles(moved)
        changed = {
            layer.layer
            for layer, a, b in zip(generator.style_layers, before, after, strict=True)
            if not torch.equal(a, b)
        }
        assert changed <= {index}
    assert {layer.layer for layer in generator.style_layers} <= set(range(generator.num_ws))


def test_no_offset_is_an_offset_of_zero(generator, ws):
    zeros = [torch.zeros(1, layer.channels) for layer in generator.style_layers]
    assert torch.equal(generator.synthesize(ws, offsets=zeros), generator.synthesize(ws))


def test_offsets_between_two_latents_lead_from_one_picture_to_the_other(generator, ws):
    start, end = ws[:1], ws[1:]
    offsets = [b - a for a, b in zip(generator.styles(start), generator.styles(end), strict=True)]
    moved, wanted = generator.synthesize(start, offsets=offsets), generator.synthesize(end)
    assert not torch.allclose(generator.synthesize(start), wanted, atol=1e-3)
    torch.testing.assert_close(moved, wanted, atol=1e-5, rtol=1e-4)


def test_each_row_has_its_own_offsets(generator, ws):
    stream = torch.Generator().manual_seed(1)
    offsets = [torch.randn(2, x.channels, generator=stream) for x in generator.style_layers]
    both = generator.synthesize(ws, offsets=offsets)
    for row in range(2):
        alone = generator.synthesize(ws[row : row + 1], offsets=[x[row : row + 1] for x in offsets])
        torch.testing.assert_close(both[row : row + 1], alone, atol=1e-5, rtol=1e-4)


def test_offsets_have_gradients(generator, ws):
    offsets = [torch.zeros(2, x.channels, requires_grad=True) for x in generator.style_layers]
    generator.synthesize(ws, offsets=offsets).square().sum().backward()
    assert all(float(x.grad.abs().sum()) > 0 for x in offsets)


def test_offsets_of_another_generator_are_refused(generator, ws):
    zeros = [torch.zeros(1, layer.channels) for layer in generator.style_layers]
    with pytest.raises(ValueError, match="offsets: expected"):
        generator.synthesize(ws, offsets=zeros[:-1])
    with pytest.raises(ValueError, match=generator.style_layers[0].name):
        generator.synthesize(ws, offsets=[torch.zeros(1, 1), *zeros[1:]])
    with pytest.raises(ValueError, match="ws: expected"):
        generator.styles(ws[:, 1:])
