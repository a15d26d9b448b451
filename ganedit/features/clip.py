"""CLIP (Radford et al. 2021): pictures and texts as directions that can be compared.

The networks are open_clip's; this module feeds them. Which ones there are, and where their weights
come from, is in `clip_models`; the embedded one is in `clay_clip`.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
import torch.nn.functional as F
from ftfy import fix_encoding
from torch import Tensor, nn

from ganedit.errors import GaneditError
from ganedit.io.images import resize_pixels, to_uint8

Preprocess = Literal["model", "open_clip", "reference"]

PHOTO_TEMPLATES = (
    "{}",
    "a photo of {}",
    "a picture of {}",
    "a portrait of {}",
    "a close-up of {}",
    "an image of {}",
    "a rendering of {}",
)
"""Sentences around a prompt, whose mean is steadier than the prompt alone."""

_REFERENCE_SIDE = 224
_REFERENCE_SCALE = 7


@dataclass(frozen=True)
class Scaling:
    """How a CLIP wants its pictures.

    Attributes:
        side: Of the pictures that it reads, in pixels.
        mean: Of the channels, for pictures in 0..1.
        std: Of the channels.
        interpolation: How other sizes become that one.
        resize_mode: ``shortest`` scales the shorter side and crops the middle; ``squash`` scales
            both.
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "squash"] = "shortest"


class Clip(nn.Module):
    """A frozen CLIP with its tokenizer and its way with pictures.

    Attributes:
        name: What commands and files call it.
        preprocess: ``model``: as the network wants, with gradients. ``open_clip``: the same through
            8 bits, as open_clip does with picture files, without gradients. ``reference``: as
            StyleCLIP's code does, which enlarges 7 times without smoothing, averages down to 224
            pixels and leaves out the normalisation.
        scaling: How it wants its pictures.
        context_length: Tokens that it reads, start and end included.
        vocabulary: Tokens that it was trained on; None where that is all of the tokenizer's.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        name: str,
        scaling: Scaling,
        preprocess: Preprocess = "model",
        vocabulary: frozenset[int] | None = None,
    ) -> None:
        """Freeze a model of open_clip and put its tokenizer beside it."""
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.scaling = scaling
        self.preprocess = preprocess
        self.vocabulary = vocabulary
        self.context_length: int = tokenizer.context_length
        self.register_buffer("mean", torch.tensor(scaling.mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(scaling.std).reshape(1, 3, 1, 1))
        if preprocess == "reference" and scaling.side != _REFERENCE_SIDE:
            raise GaneditError(
                f"{name} reads {scaling.side} pixels, StyleCLIP's own way with pictures gives"
                f" {_REFERENCE_SIDE}; leave out --clip-preprocess reference, or choose ViT-B-32"
            )

    @property
    def logit_scale(self) -> float:
        """What the model multiplies cosines by before a softmax."""
        return float(self.model.get_parameter("logit_scale").exp())

    @cached_property
    def fingerprint(self) -> str:
        """``sha256:<hex>`` of the weights and of the way with pictures, whatever its name is."""
        digest = hashlib.sha256(f"{self.preprocess} {self.scaling}".encode())
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(f"{key}{list(value.shape)}".encode())
            digest.update(value.to("cpu", torch.float32).contiguous().reshape(-1).numpy())
        return f"sha256:{digest.hexdigest()}"

    def encode_images(self, images: Tensor) -> Tensor:
        """Return directions of length one, [N, D].

        Args:
            images: [N, 3, H, W] in [-1, 1], of any size.
        """
        model: Any = self.model
        return F.normalize(model.encode_image(self.prepared(images)).float(), dim=-1)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], *, templates: Sequence[str] = ("{}",)) -> Tensor:
        """Return directions of length one, [T, D].

        Args:
            texts: Prompts; mis-encoded ones are repaired (ftfy), long ones are cut at
                ``context_length``, unknown words left out: `remarks` says so.
            templates: Each prompt is put into each of them; the mean direction counts.

        Raises:
            GaneditError: A prompt is empty, or holds no word that the model knows.
        """
        model: Any = self.model
        rows = []
        for text in texts:
            words = self._known(text)
            filled = [template.replace("{}", words) for template in templates]
            tokens = self.tokenizer(filled).to(self.mean.device)
            each = F.normalize(model.encode_text(tokens).float(), dim=-1)
            rows.append(F.normalize(each.mean(dim=0), dim=-1))
        return torch.stack(rows) if rows else self.mean.new_zeros(0, self._width())

    def remarks(self, texts: Sequence[str]) -> list[str]:
        """Return what a user should know about prompts: a line each for what is not read.

        Raises:
            GaneditError: As `encode_texts`.
        """
        lines = []
        for text in texts:
            shown = text if len(text) <= 40 else f"{text[:40]}..."
            repaired = fix_encoding(text)
            if repaired != text:
                lines.append(f"{shown!r}: mis-encoded, read as {repaired[:40]!r}")
            unknown = [] if self.vocabulary is None else self._unknown(text)
            if unknown:
                listed = ", ".join(repr(word) for word in dict.fromkeys(unknown))
                lines.append(
                    f"{shown!r}: {self.name} does not know {listed:.200}, which is"
                    " left out; it only knows how clay heads are described, so for other words"
                    " give a CLIP with --clip, such as ViT-B-32:openai"
                )
            count = len(self.tokenizer.encode(self._known(text))) + 2
            if count > self.context_length:
                lines.append(
                    f"{shown!r}: {count} tokens, {self.name} reads the first {self.context_length}"
                )
        return lines

    def prepared(self, images: Tensor) -> Tensor:
        """Return pictures as the network takes them, [N, 3, side, side].

        Args:
            images: [N, 3, H, W] in [-1, 1].
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected [N, 3, H, W], got {list(images.shape)}")
        if self.preprocess == "reference":
            return _averaged(images)
        if self.preprocess == "open_clip":
            size = _size(images, self.scaling)
            pixels = resize_pixels(to_uint8(images), size, method=self.scaling.interpolation)
            levels = pixels.permute(0, 3, 1, 2).to(images) / 255
        else:
            # Resampling overshoots at edges; 8-bit pictures are cut off there, too.
            levels = (_resized(images, self.scaling).clamp(-1, 1) + 1) / 2
        return (_middle(levels, self.scaling.side) - self.mean) / self.std

    def _known(self, text: str) -> str:
        """Return the text without what the model was never trained on.

        Raises:
            GaneditError: Nothing is left.
        """
        clean = self.tokenizer.clean_fn(text)
        if not clean:
            raise GaneditError("the prompt is empty; say what the picture should show")
        if self.vocabulary is None:
            return clean
        unknown = set(self._unknown(clean, signs=True))
        kept = " ".join(piece for piece in self._pieces(clean) if piece not in unknown)
        if not kept.strip(" ,-"):
            raise GaneditError(
                f"{text[:40]!r}: {self.name} knows none of these words; it only knows"
                " how clay heads are described, so give a CLIP with --clip, such as ViT-B-32:openai"
            )
        return kept

    def _unknown(self, text: str, *, signs: bool = False) -> list[str]:
        """Return the words, and with ``signs`` whatever else, that the model does not know."""
        assert self.vocabulary is not None
        return [
            piece
            for piece in self._pieces(self.tokenizer.clean_fn(text))
            if not self.vocabulary.issuperset(self.tokenizer.encode(piece))
            and (signs or not re.fullmatch(r"[\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]+", piece))
        ]

    def _pieces(self, clean: str) -> list[str]:
        """Split text as the tokenizer does before it looks for known parts of words."""
        pieces: list[str] = self.tokenizer.pat.findall(clean)
        return pieces

    def _width(self) -> int:
        """Return the length of a direction."""
        with torch.no_grad():
            side = self.scaling.side
            return int(self.encode_images(self.mean.new_zeros(1, 3, side, side)).shape[1])


def _size(images: Tensor, scaling: Scaling) -> tuple[int, int]:
    """Return height and width that pictures are scaled to, before the middle is cut out."""
    height, width = images.shape[2:]
    if scaling.resize_mode == "squash":
        return scaling.side, scaling.side
    short = min(height, width)  # rounded down, as torchvision's Resize does
    return scaling.side * height // short, scaling.side * width // short


def _resized(images: Tensor, scaling: Scaling) -> Tensor:
    """Scale pictures, with gradients."""
    size = _size(images, scaling)
    if size == tuple(images.shape[2:]):
        return images
    return F.interpolate(
        images, size=size, mode=scaling.interpolation, align_corners=False, antialias=True
    )


def _middle(images: Tensor, side: int) -> Tensor:
    """Cut out the middle square."""
    top, left = (round((length - side) / 2) for length in images.shape[2:])
    return images[:, :, top : top + side, left : left + side]


def _averaged(images: Tensor) -> Tensor:
    """Enlarge 7 times by repeating pixels, then average each block down to 224 a side.

    One matrix a side does both: a picture of 1024 pixels would otherwise become one of 7168.
    """
    height, width = images.shape[2:]
    if height != width or height % 32:
        raise GaneditError(
            f"pictures are {width}x{height}; StyleCLIP's own way with them needs a square whose"
            " side is a multiple of 32; leave out --clip-preprocess reference"
        )
    eye = torch.eye(height, device=images.device, dtype=images.dtype)
    blocks = eye.repeat_interleave(_REFERENCE_SCALE, dim=0).unflatten(0, (_REFERENCE_SIDE, -1))
    matrix = blocks.mean(dim=1)  # [224, H]
    return matrix @ images @ matrix.mT
