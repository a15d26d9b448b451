import copy
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from ganedit.errors import GaneditError
from ganedit.features import clip_models, load_clip
from ganedit.io.hub import HubFile

TINY = {
    "embed_dim": 8,
    "vision_cfg": {"layers": 1, "width": 16, "head_width": 8, "patch_size": 16, "image_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


@pytest.fixture
def tiny(monkeypatch):
    """A model that open_clip knows, with one tag, and its weights."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-1", copy.deepcopy(TINY))
    tag = {"hf_hub": "someone/tiny/", "mean": (0.5,) * 3, "std": (0.25,) * 3, "quick_gelu": True}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny-1", {"corpus": tag})
    torch.manual_seed(0)
    return open_clip.CLIP(**TINY).state_dict()


def encoded(name, **settings):
    clip = load_clip(name, **settings)
    images = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    return torch.cat([clip.encode_images(images), clip.encode_texts(["a face"])])


def test_weights_are_read_from_every_container(tiny, tmp_path):
    torch.save(tiny, tmp_path / "plain.pt")
    nested = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in tiny.items()}}
    torch.save(nested, tmp_path / "training.pt")
    save_file(tiny, tmp_path / "safe.safetensors")
    plain = encoded("Tiny-1", weights=tmp_path / "plain.pt")
    assert plain.shape == (2, 8)
    for name in ("training.pt", "safe.safetensors"):
        assert torch.equal(encoded("Tiny-1", weights=tmp_path / name), plain)


def test_a_tags_weights_come_from_the_cache_with_its_settings(tiny, tmp_path, monkeypatch):
    path = tmp_path / "cached.safetensors"
    save_file(tiny, path)
    asked: list[HubFile] = []

    def cached(file: HubFile) -> Path | None:
        asked.append(file)
        return path if file.path.endswith(".bin") else None

    monkeypatch.setattr(clip_models, "cached_hub_file", cached)
    clip = load_clip("Tiny-1:corpus")
    assert [file.source for file in asked] == [
        "hf://someone/tiny/open_clip_model.safetensors",
        "hf://someone/tiny/open_clip_pytorch_model.bin",
    ]
    assert clip.scaling.std == (0.25, 0.25, 0.25)
    assert type(clip.model.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


def test_nothing_is_fetched_unless_asked_for(tiny, tmp_path, monkeypatch):
    path = tmp_path / "fetched.safetensors"
    save_file(tiny, path)
    fetched: list[str] = []

    def fetch(file: HubFile, **_: object) -> Path:
        fetched.append(file.path)
        if file.path.endswith(".safetensors"):
            raise GaneditError(f"{file.source}: no such file in {file.repo}")
        return path

    monkeypatch.setattr(clip_models, "cached_hub_file", lambda _: None)
    monkeypatch.setattr(clip_models, "fetch_hub_file", fetch)
    with pytest.raises(GaneditError, match=r"not on this machine.*--clip-download.*clay-clip"):
        load_clip("Tiny-1:corpus")
    assert fetched == []
    load_clip("Tiny-1:corpus", fetch=True)
    assert fetched == ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ViT-B32", "no CLIP 'ViT-B32'; did you mean ViT-B-32"),
        ("clayclip", "did you mean clay-clip"),
        ("qqqqqqqq", r"there are clay-clip, .*in all"),
        ("ViT-B-32:laion", "ViT-B-32 has no weights 'laion'; did you mean laion"),
        ("ViT-H-14", "say which weights, as ViT-H-14:TAG; there are"),
        ("RN50x4-quickgelu:none", "has no weights 'none'; there are openai"),
        ("ViT-B-16-SigLIP", "tokenizer is not part of open_clip"),
        ("roberta-ViT-B-32", "tokenizer is not part of open_clip"),
        ("absent.safetensors", "no such file"),
    ],
)
def test_names_that_do_not_exist_are_one_line_with_the_nearest(name, line):
    with pytest.raises(GaneditError, match=line) as caught:
        load_clip(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_files_of_other_models_are_one_line(tiny, tmp_path):
    short = dict(tiny)
    del short["visual.proj"]
    torch.save(short, tmp_path / "short.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(tiny | {"visual.proj": tiny["visual.proj"] / 0}, tmp_path / "nan.pt")
    (tmp_path / "text").write_text("hello")
    save_file(tiny, tmp_path / "cut.safetensors")
    content = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-10])
    for name, line in {
        "short.pt": "visual.proj should be .* is missing",
        "list.pt": "no network's tensors",
        "nan.pt": "not finite",
        "text": "not a network or tensor file",
        "cut.safetensors": "damaged or incomplete",
        "absent.pt": "no such file",
    }.items():
        with pytest.raises(GaneditError, match=line):
            load_clip("Tiny-1", weights=tmp_path / name)
