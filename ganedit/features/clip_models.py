"""Which CLIPs there are, and where their weights come from.

Names and tags are open_clip's, as in ``ViT-B-32:openai``. Weights are looked for where open_clip
keeps them (the Hub's cache and its own), or given as a file; they are fetched only when asked for.
"""

import copy
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ganedit.errors import GaneditError
from ganedit.features.clay_clip import CLAY_CLIP, load_clay_clip
from ganedit.features.clip import Clip, Preprocess, Scaling
from ganedit.io.download import download
from ganedit.io.files import read_start
from ganedit.io.hub import HubFile, cached_hub_file, fetch_hub_file
from ganedit.io.stored import StoredTensor
from ganedit.io.torch_files import load_tensors, open_pickled

_DEFAULT_TAG = "openai"
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

OnBytes = Callable[[int, int | None], None]


def load_clip(
    name: str = CLAY_CLIP,
    *,
    weights: str | Path | None = None,
    preprocess: Preprocess = "model",
    fetch: bool = False,
    device: torch.device | str = "cpu",
    on_progress: OnBytes | None = None,
) -> Clip:
    """Return a frozen CLIP.

    Args:
        name: ``clay-clip`` for the embedded one; a file of ``ganedit train-clip``; or a model of
            open_clip and its tag, such as ``ViT-B-32:laion2b_s34b_b79k``; without a tag OpenAI's.
        weights: A file for a model of open_clip, in place of the tag's.
        preprocess: See `Clip`.
        fetch: Fetch the tag's weights if they are not on this machine.
        device: Where it lives.
        on_progress: Called with the bytes fetched so far and in all (None when unknown).

    Raises:
        GaneditError: There is no such model or tag, its weights are not here, or damaged.
    """
    if name == CLAY_CLIP:
        return load_clay_clip(preprocess=preprocess, device=device)
    if name.endswith(".safetensors") or _is_file(Path(name)):
        return load_clay_clip(_existing(name), preprocess=preprocess, device=device)
    model, _, tag = name.partition(":")
    config = _config(model)
    if weights is None:
        pretrained = _pretrained(model, tag)
        path = _cached(pretrained) or _fetched(name, pretrained, fetch, on_progress)
    else:
        pretrained = _pretrained(model, tag) if tag else {}
        path = _existing(weights)
    network = _built(model, config, quick_gelu=pretrained.get("quick_gelu"))
    _fill(network, path, name=model)
    from open_clip import get_tokenizer

    clip = Clip(
        network,
        get_tokenizer(model),
        name=name,
        scaling=_scaling(config, pretrained),
        preprocess=preprocess,
    )
    return clip.to(device)


# Names


def _config(model: str) -> dict[str, Any]:
    """Return open_clip's configuration of a model whose tokenizer comes with open_clip.

    Raises:
        GaneditError: There is none of that name, or it needs another package.
    """
    import open_clip

    known = [CLAY_CLIP, *open_clip.list_models()]
    config = open_clip.get_model_config(model)
    if config is None:
        raise GaneditError(f"no CLIP {model[:60]!r}{_nearest(model, known)}")
    text = config["text_cfg"]
    if "hf_model_name" in text or "hf_tokenizer_name" in text or "siglip" in model.lower():
        raise GaneditError(
            f"{model}: its tokenizer is not part of open_clip, which this version needs; choose"
            " another, such as ViT-B-32 or ViT-L-14"
        )
    return dict(copy.deepcopy(config))


def _pretrained(model: str, tag: str) -> dict[str, Any]:
    """Return what open_clip says of a tag's weights and pictures.

    Raises:
        GaneditError: The model has no such tag.
    """
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tags = list_pretrained_tags_by_model(model)
    if not tags:
        have = sorted({name for name, _ in open_clip.list_pretrained()})
        raise GaneditError(
            f"open_clip has no weights of {model}; give a file by --clip-weights"
            f"{_nearest(model, have)}"
        )
    if not tag and _DEFAULT_TAG not in tags:
        raise GaneditError(f"{model}: say which weights, as {model}:TAG; {_nearest('', tags)[2:]}")
    found = get_pretrained_cfg(model, tag or _DEFAULT_TAG)
    if not found:
        raise GaneditError(f"{model} has no weights {tag[:60]!r}{_nearest(tag, tags)}")
    return dict(found)


def _nearest(name: str, known: list[str]) -> str:
    """Return the end of a line that names the likeliest ones, or the first few."""
    lower = {one.lower(): one for one in known}
    near = [lower[one] for one in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    more = f", ... ({len(known)} in all)" if len(known) > 5 else ""
    return f"; there are {', '.join(known[:5])}{more}"


# Files


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no system takes
        return False


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not _is_file(path):
        raise GaneditError(f"{path!s:.200}: no such file; --clip takes a name, or a CLIP's file")
    return path


def _hub_files(pretrained: dict[str, Any]) -> list[HubFile]:
    """Return where the Hub may keep a tag's weights, the safer kind of file first."""
    place = pretrained.get("hf_hub")
    if not place:
        return []
    repo, _, file = place.rpartition("/")
    return [
        HubFile(f"hf://{repo}/{name}", repo, name) for name in ((file,) if file else _HUB_FILES)
    ]


def _url_path(url: str) -> Path:
    """Return where open_clip keeps a file of that address."""
    return Path.home() / ".cache" / "clip" / url.rpartition("/")[2]


def _cached(pretrained: dict[str, Any]) -> Path | None:
    """Return a tag's weights if they are on this machine; asks nobody."""
    for file in _hub_files(pretrained):
        path = cached_hub_file(file)
        if path is not None:
            return path
    url = pretrained.get("url")
    return _url_path(url) if url and _url_path(url).is_file() else None


def _fetched(
    name: str, pretrained: dict[str, Any], fetch: bool, on_progress: OnBytes | None
) -> Path:
    """Fetch a tag's weights, if that is wanted, and return them.

    Raises:
        GaneditError: It is not, or it fails.
    """
    files, url = _hub_files(pretrained), str(pretrained.get("url"))
    if not fetch:
        where = files[0].source if files else url
        raise GaneditError(
            f"{name}: its weights are not on this machine; let --clip-download fetch {where}, give"
            f" a file by --clip-weights, or take the embedded {CLAY_CLIP}"
        )
    if not files:
        return download(url, _url_path(url), sha256=_hash_of(url), on_progress=on_progress)
    for file in files[:-1]:
        try:
            return fetch_hub_file(file, place=Path("the Hub's cache"), on_progress=on_progress)
        except GaneditError as error:
            if "no such file" not in str(error):
                raise
    return fetch_hub_file(files[-1], place=Path("the Hub's cache"), on_progress=on_progress)


def _hash_of(url: str) -> str | None:
    """Return the digits of the file's SHA-256 that the address holds."""
    if "openaipublic" in url:
        return url.split("/")[-2]
    return Path(url).stem.rpartition("-")[2] if "mlfoundations" in url else None


# Networks


def _built(model: str, config: dict[str, Any], *, quick_gelu: bool | None) -> nn.Module:
    """Return the network with random weights; nothing is fetched for it.

    Raises:
        GaneditError: open_clip cannot build it here.
    """
    import open_clip.model

    custom = config.pop("custom_text", False)
    if quick_gelu is not None:
        config["quick_gelu"] = quick_gelu
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    kind = "CoCa" if "multimodal_cfg" in config else "CustomTextCLIP" if custom else "CLIP"
    try:
        network: nn.Module = getattr(open_clip, kind)(**config)
    except (RuntimeError, TypeError, ValueError, ImportError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise GaneditError(f"{model}: open_clip cannot build it ({reason:.160})") from error
    return network


def _scaling(config: dict[str, Any], pretrained: dict[str, Any]) -> Scaling:
    """Return how the network wants its pictures; a file's are those of OpenAI's models."""
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    side = config["vision_cfg"]["image_size"]
    return Scaling(
        side=side if isinstance(side, int) else side[0],
        mean=tuple(pretrained.get("mean", OPENAI_DATASET_MEAN)),
        std=tuple(pretrained.get("std", OPENAI_DATASET_STD)),
        interpolation=pretrained.get("interpolation", "bicubic"),
        resize_mode=pretrained.get("resize_mode", "shortest"),
    )


def _fill(network: nn.Module, path: Path, *, name: str) -> None:
    """Put the weights of a file into a network.

    Raises:
        GaneditError: The file is damaged, or of another model.
    """
    from open_clip.model import convert_to_custom_text_state_dict

    state = _read(path)
    own = network.state_dict()
    if "text.positional_embedding" in own:
        state = convert_to_custom_text_state_dict(state)
    for key, value in own.items():
        got = state.get(key)
        if got is not None and got.numel() == value.numel() == 1:
            got = state[key] = got.reshape(value.shape)  # scalar, or of one dimension
        if got is None or got.shape != value.shape:
            raise GaneditError(
                f"{path}: not the weights of {name}: {key} should be {list(value.shape)}, is"
                f" {'missing' if got is None else list(got.shape)}"
            )
        if got.is_floating_point() and not bool(torch.isfinite(got).all()):
            raise GaneditError(f"{path}: {key} holds values that are not finite")
    network.load_state_dict({key: state[key] for key in own})


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file of open_clip; nothing in it is executed.

    Raises:
        GaneditError: It cannot be read, or holds no such tensors.
    """
    if read_start(path, 9)[6:9] == b"\0\0{":  # a header's length comes first
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise GaneditError(f"{path}: damaged or incomplete") from error
    content = open_pickled(path).trusted()
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]  # a checkpoint of open_clip's training
    if not isinstance(content, dict):
        raise GaneditError(f"{path}: holds no network's tensors")
    tensors = {
        str(key).removeprefix("module."): value
        for key, value in content.items()
        if isinstance(value, StoredTensor)
    }
    return dict(load_tensors(tensors))
