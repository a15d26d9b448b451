import pytest
import torch

from ganedit.encoders import CompactEncoder


@pytest.fixture
def encoder() -> CompactEncoder:
    torch.manual_seed(0)
    encoder = CompactEncoder(num_ws=6, w_dim=16, resolution=16, widths=(8, 16, 16), hidden=24)
    torch.nn.init.normal_(encoder.offsets.weight)
    return encoder.eval().requires_grad_(False)


def test_the_default_is_small_enough_to_embed() -> None:
    encoder = CompactEncoder(num_ws=10, w_dim=128)
    assert sum(p.numel() for p in encoder.parameters()) == 2_834_272
    assert encoder.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 10, 128)


def test_an_untrained_encoder_finds_one_latent_for_all_layers() -> None:
    encoder = CompactEncoder(num_ws=6, w_dim=16, resolution=16, widths=(8, 16)).eval()
    ws = encoder(torch.rand(3, 3, 16, 16))
    assert torch.equal(ws, ws[:, :1].expand_as(ws))


def test_stages_add_offsets_one_by_one(encoder: CompactEncoder) -> None:
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    first, some, every = (encoder(images, stages=stages) for stages in (0, 2, None))
    assert torch.equal(first, first[:, :1].expand(-1, 6, -1))
    assert torch.equal(some[:, :3], every[:, :3])
    assert torch.equal(some[:, 3:], first[:, 3:])
    assert not torch.equal(every[:, 3:], first[:, 3:])


def test_latents_are_in_units_of_each_dimensions_deviation(encoder: CompactEncoder) -> None:
    images = torch.rand(2, 3, 16, 16)
    before = encoder(images)
    scale = torch.linspace(0.5, 2, 16)
    encoder.w_std.copy_(scale)
    torch.testing.assert_close(encoder(images), before * scale)


def test_the_config_builds_the_network_again(encoder: CompactEncoder) -> None:
    again = CompactEncoder(**encoder.config).eval()
    again.load_state_dict(encoder.state_dict())
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(again(images), encoder(images))


def test_sizes_that_do_not_fit_are_named(encoder: CompactEncoder) -> None:
    with pytest.raises(ValueError, match=r"images: expected \[N, 3, 16, 16\], got \[1, 3, 8, 8\]"):
        encoder(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="resolution: expected a multiple of 16, got 24"):
        CompactEncoder(num_ws=6, w_dim=16, resolution=24)
