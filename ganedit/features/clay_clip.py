"""The clay world's own CLIP: small, embedded, and ignorant of everything but clay heads.

It is a model of open_clip with the standard tokenizer. Of the 49,408 rows of a token table only
those are stored that captions of clay heads can hold; the others were never trained.
"""

import copy
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ganedit.assets import asset_path
from ganedit.data.clayheads import grammar_words
from ganedit.errors import GaneditError
from ganedit.features.clip import Clip, Preprocess, Scaling

CLAY_CLIP = "clay-clip"
CLAY_CLIP_FORMAT = "clay-clip"

CLAY_CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"layers": [2, 2, 2, 1], "width": 20, "image_size": 64, "head_width": 32},
    "text_cfg": {"context_length": 77, "width": 128, "heads": 4, "layers": 2},
    "custom_text": True,
}
"""The network, as open_clip's own configuration files describe theirs."""

_SCALING = Scaling(side=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bilinear")
_TABLE = "text.token_embedding.weight"


@lru_cache(maxsize=1)
def standard_tokenizer() -> Any:
    """Return open_clip's tokenizer, which is CLIP's."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def grammar_tokens() -> tuple[int, ...]:
    """Return the tokens that captions of clay heads can hold, ascending, with start and end."""
    tokenizer = standard_tokenizer()
    tokens = {token for word in grammar_words() for token in tokenizer.encode(word)}
    return tuple(sorted({*tokens, tokenizer.sot_token_id, tokenizer.eot_token_id}))


def build_clay_clip(tokens: int) -> nn.Module:
    """Return the network with random weights and a token table of ``tokens`` rows."""
    from open_clip.model import CustomTextCLIP

    config = copy.deepcopy(CLAY_CLIP_CONFIG)
    del config["custom_text"]
    config["text_cfg"]["vocab_size"] = tokens
    model: nn.Module = CustomTextCLIP(**config)
    return model


def load_clay_clip(
    path: Path | None = None,
    *,
    preprocess: Preprocess = "model",
    device: torch.device | str = "cpu",
) -> Clip:
    """Return a clay CLIP with the whole token table, whose untrained rows are zero.

    Args:
        path: A file of ``ganedit train-clip``; None takes the embedded one.
        preprocess: See `Clip`.
        device: Where it lives.

    Raises:
        GaneditError: The file is missing, damaged, or something else.
    """
    file = asset_path(CLAY_CLIP) if path is None else path
    try:
        header, state = _read(file)
        tokens = [int(token) for token in header["tokens"]]
        tokenizer = standard_tokenizer()
        whole = torch.zeros(tokenizer.vocab_size, state[_TABLE].shape[1])
        whole[tokens] = state[_TABLE]
        model = build_clay_clip(tokenizer.vocab_size)
        model.load_state_dict(state | {_TABLE: whole})
        finite = all(bool(value.isfinite().all()) for value in state.values())
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError,
            IndexError, AttributeError, RecursionError) as error:  # fmt: skip
        raise _unfit(file, embedded=path is None) from error
    if not finite:
        raise GaneditError(f"{file}: holds values that are not finite; train it again")
    name = CLAY_CLIP if path is None else file.stem
    return Clip(
        model,
        tokenizer,
        name=name,
        scaling=_SCALING,
        preprocess=preprocess,
        vocabulary=frozenset(tokens),
    ).to(device)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what a file says of itself, and its tensors in float32."""
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})["ganedit"])
        if header["format"] != CLAY_CLIP_FORMAT:
            raise KeyError(header["format"])
        keys = list(file.keys())
        tensors = {key: file.get_tensor(key) for key in keys}
    return header, {
        key: value.float() if value.is_floating_point() else value for key, value in tensors.items()
    }


def _unfit(path: Path, *, embedded: bool) -> GaneditError:
    if embedded:
        return GaneditError(f"{path}: damaged or of another version; reinstall ganedit")
    return GaneditError(
        f"{path}: not a CLIP written by 'ganedit train-clip', or damaged; weights of an open_clip"
        " model go with its name: --clip ViT-B-32 --clip-weights FILE"
    )
