import pytest
import torch

from ganedit.checkpoints import (
    convert,
    fingerprint,
    load_discriminator,
    load_network,
    open_checkpoint,
    save_network,
)
from ganedit.errors import GaneditError
from ganedit.generators import StyleGAN2Discriminator
from tests.checkpoints.foreign import write_nvidia
from tests.conftest import make_generator


@pytest.fixture
def snapshot(tmp_path):
    """A generator and a discriminator as a training leaves them."""
    path = tmp_path / "snapshot.safetensors"
    critic = StyleGAN2Discriminator(c_dim=0, img_resolution=16, channel_base=128, channel_max=8)
    save_network(path, make_generator(), discriminator=critic, provenance={"images": 7})
    return path


def test_there_and_back_again_changes_nothing(snapshot, tmp_path):
    first = convert(open_checkpoint(snapshot), tmp_path / "a.pt", to="rosinality")
    second = convert(open_checkpoint(first.path), tmp_path / "b.safetensors", to="safetensors")
    assert (first.image_difference, second.image_difference) == (0, 0)
    assert (first.score_difference, second.score_difference) == (0, 0)
    before, after = (load_network(p, device="cpu").generator for p in (snapshot, second.path))
    assert fingerprint(before) == fingerprint(after)
    assert torch.equal(before.w_avg, after.w_avg)
    critics = [load_discriminator(p).state_dict() for p in (snapshot, first.path, second.path)]
    for key, value in critics[0].items():
        assert all(torch.equal(value, critic[key]) for critic in critics[1:])


def test_a_clamp_that_matters_stops_the_conversion(tmp_path):
    generator = make_generator()
    save_network(tmp_path / "a.safetensors", generator, provenance={})
    checkpoint = open_checkpoint(tmp_path / "a.safetensors")
    checkpoint.generator.config["conv_clamp"] = 0.05
    with pytest.raises(GaneditError, match=r"b.pt: not written, .* differ by up to"):
        convert(checkpoint, tmp_path / "b.pt", to="rosinality")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_labels_do_not_fit_into_rosinalitys_format(class_network_path, tmp_path):
    checkpoint = open_checkpoint(class_network_path)
    with pytest.raises(GaneditError, match=r"convert to .safetensors"):
        convert(checkpoint, tmp_path / "b.pt", to="rosinality")
    again = convert(checkpoint, tmp_path / "b.safetensors", to="safetensors")
    assert again.image_difference == 0
    assert again.score_difference is None


def test_provenance_survives_or_tells_the_origin(snapshot, tmp_path):
    convert(open_checkpoint(snapshot), tmp_path / "a.pt", to="rosinality")
    convert(open_checkpoint(tmp_path / "a.pt"), tmp_path / "b.safetensors", to="safetensors")
    convert(open_checkpoint(snapshot), tmp_path / "c.safetensors", to="safetensors")
    told = open_checkpoint(tmp_path / "b.safetensors").contents.provenance
    assert (told["converted_from"], told["family"]) == ("a.pt", "rosinality")
    assert open_checkpoint(tmp_path / "c.safetensors").contents.provenance == {"images": 7}


def test_a_pickle_goes_to_rosinality_and_to_safetensors_unchanged(tmp_path):
    source = open_checkpoint(write_nvidia(tmp_path / "a.pkl", make_generator()))
    first = convert(source, tmp_path / "b.pt", to="rosinality")
    second = convert(open_checkpoint(first.path), tmp_path / "c.safetensors", to="safetensors")
    assert (first.image_difference, second.image_difference) == (0, 0)
    marks = {load_network(p, device="cpu").fingerprint for p in (source.path, second.path)}
    assert len(marks) == 1
