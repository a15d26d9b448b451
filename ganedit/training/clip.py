"""Training of the clay world's CLIP: pictures of heads, and what people would say of them.

The loss is contrastive, as CLIP's (Radford et al. 2021), but no caption belongs to one picture
only: "a smiling face" is true of half of a batch. What a caption claims is known, so it is looked
up for every picture, and all pictures that it is true of are its positives, as in UniCL (Yang et
al. 2022, "Unified Contrastive Learning in Image-Text-Label Space", equations 1 to 3). Until words
and pictures agree on anything small, neither learns it; a linear layer that reads every claim off
the pictures' directions, and is thrown away at the end, breaks that circle.
"""

import copy
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ganedit.data.clayheads import CLAIMS, Claim, holds, read_truth, say, true_claims
from ganedit.data.dataset import ImageDataset
from ganedit.errors import GaneditError
from ganedit.features.clay_clip import (
    CLAY_CLIP_CONFIG,
    CLAY_CLIP_FORMAT,
    build_clay_clip,
    grammar_tokens,
    load_clay_clip,
    standard_tokenizer,
)
from ganedit.features.clip import Clip
from ganedit.io.files import write_bytes
from ganedit.progress import OnStep
from ganedit.runtime import resolve_device
from ganedit.training.clip_config import ClipTrainingConfig
from ganedit.training.features import distort, mirror_factors
from ganedit.training.loop import step_seed
from ganedit.training.resuming import Part, diverged_at, restore_state, run_steps, save_state
from ganedit.training.targets import check_target

_FORMAT = "ganedit-clip-training"
_WARM_UP = 200  # steps
_LAST_RATE = 0.01  # of the learning rate, where the cosine ends
_LARGEST_GRADIENT = 5.0
_AVERAGE_DECAY = 0.998  # a step
_LARGEST_SCALE = math.log(100)  # as CLIP's
_RAREST = 0.02  # share of true or false below which a claim counts no more
_LENGTHS = 6  # groups of texts of like length in a step
_ZOOM = 0.08  # largest change of a picture's size
_SHIFT = 0.06  # largest move, as a share of its side


@dataclass(frozen=True)
class ClipTrainingResult:
    """How a training ended.

    Attributes:
        reason: ``done``, or ``interrupted`` by a signal: then only the state was written.
        step: Steps done, over all processes.
        clip: The moving average, ready to use; None when interrupted.
    """

    reason: Literal["done", "interrupted"]
    step: int
    clip: Clip | None


@dataclass
class _State:
    """What a training changes; random numbers follow from (seed, step)."""

    model: nn.Module
    averaged: nn.Module
    reader: nn.Linear
    optimizer: torch.optim.Optimizer
    step: int = 0


@dataclass(frozen=True)
class _World:
    """What a training only reads.

    Attributes:
        factors: Of the pictures as they are, and mirrored, [2, N, F].
        claims: What is true of each of those heads.
        truth: The same as a table, bool [2, N, len(CLAIMS)].
        surprise: How hard each claim is to guess without a picture: the entropy of its share of
            true, in nats, [len(CLAIMS)].
        tokens: Tokens that captions can hold, ascending; the model numbers them by their place.
    """

    config: ClipTrainingConfig
    dataset: ImageDataset
    factors: Tensor
    claims: list[list[list[Claim]]]
    truth: Tensor
    surprise: Tensor
    tokens: tuple[int, ...]
    device: torch.device


def train_clip(
    config: ClipTrainingConfig, *, overwrite: bool = False, on_step: OnStep | None = None
) -> ClipTrainingResult:
    """Train a CLIP of the clay world and write its moving average to ``config.out``.

    A training that was stopped goes on from the state beside that file, if the options are the
    same. SIGINT and SIGTERM finish the current step, save the state and return.

    Args:
        config: All options.
        overwrite: Also replace a file that is no CLIP of ours.
        on_step: Called after every step with the loss and its parts.

    Raises:
        GaneditError: Bad options, data or files, or the training diverged.
    """
    config.validate()
    check_target(config.out, ours=_is_ours, overwrite=overwrite)
    world = _world(config)
    state = _initial_state(world)
    if config.state_path.exists():
        _restore(config, state)
    done = run_steps(
        state,
        lambda: _step(world, state),
        steps=config.steps,
        save=lambda: _save_state(config, state),
        save_every=round(config.state_kimg * 1000 / config.batch),
        diverged=diverged_at(config.state_path, "training", config.learning_rate),
        on_step=on_step,
    )
    if not done:
        return ClipTrainingResult("interrupted", state.step, None)
    recipe = {"images": state.step * config.batch, "recipe": config.recipe()}
    save_clay_clip(config.out, state.averaged, tokens=world.tokens, provenance=recipe)
    config.state_path.unlink(missing_ok=True)
    return ClipTrainingResult("done", state.step, load_clay_clip(config.out, device=world.device))


def contrastive_loss(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of finding pictures for texts, and that of finding texts for pictures.

    Both are divergences (Kullback-Leibler) from the even distribution over all that is true, so
    0 is perfect; their gradients are those of the cross entropies.

    Args:
        logits: Scaled cosines of T texts and N pictures, [T, N].
        truth: Which texts are true of which pictures, bool [T, N], one of each row and column at
            least.
    """
    losses = []
    for axis in (1, 0):
        target = truth / truth.sum(dim=axis, keepdim=True)
        entropy = truth.sum(dim=axis).log()
        losses.append(-((target * logits.log_softmax(dim=axis)).sum(dim=axis) + entropy).mean())
    return losses[0], losses[1]


def encode_tokens(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return what ``model.encode_text`` does, with little of the padding computed.

    Most captions are short and a few are long, so texts go through in groups of like length.

    Args:
        model: Made by `build_clay_clip`.
        tokens: [T, L]; the end is the largest token of the model.

    Returns:
        Not normalised, [T, D].
    """
    ends = tokens.argmax(dim=1)
    order = ends.argsort()
    groups = order.chunk(_LENGTHS)
    parts = [_encode_padded(model, tokens[group, : int(ends[group[-1]]) + 1]) for group in groups]
    return torch.cat(parts)[order.argsort()]


def _encode_padded(model: nn.Module, tokens: Tensor) -> Tensor:
    text: Any = model.get_submodule("text")
    length = tokens.shape[1]
    x = text.token_embedding(tokens) + text.positional_embedding[:length]  # [T, L, W]
    x = text.transformer(x, attn_mask=text.attn_mask[:length, :length])
    ends = tokens.argmax(dim=1)
    x = text.ln_final(x[torch.arange(len(x), device=x.device), ends])  # [T, W]
    return x @ text.text_projection


def save_clay_clip(
    path: Path, model: nn.Module, *, tokens: Sequence[int], provenance: dict[str, Any]
) -> None:
    """Write a model, matrices and kernels in half precision, atomically.

    Args:
        path: The `.safetensors` file.
        model: Made by `build_clay_clip` for ``len(tokens)`` tokens.
        tokens: The standard token of each row of its table.
        provenance: JSON-able facts about how it came to be.
    """
    # Vectors stay whole: they are few, and variances can exceed what half precision holds.
    tensors = {
        key: (value.half() if value.ndim > 1 else value).cpu().contiguous()
        for key, value in model.state_dict().items()
    }
    header = {"format": CLAY_CLIP_FORMAT, "tokens": list(tokens), "provenance": provenance}
    write_bytes(path, save(tensors, metadata={"ganedit": json.dumps(header)}))


# Start


def _world(config: ClipTrainingConfig) -> _World:
    """Open the data and look up what is true of its heads."""
    truth = read_truth(config.data)
    if truth.style != "clay":
        raise GaneditError(
            f"{config.data}: holds {truth.style} heads; make an archive with"
            " 'ganedit dataset clay --style clay'"
        )
    dataset = ImageDataset(config.data)
    if len(dataset) != len(truth.factors):
        raise GaneditError(
            f"{config.data}: {len(dataset)} pictures but {len(truth.factors)} rows of factors"
        )
    factors = torch.stack([truth.factors, mirror_factors(truth.factors)])
    # In parts: what is compared takes a hundred times the memory of the result.
    table = torch.cat([true_claims(part) for part in factors.flatten(0, 1).split(1000)])
    share = table.float().mean(dim=0).clamp(_RAREST, 1 - _RAREST)
    table = table.unflatten(0, (2, -1))
    device = resolve_device(config.device)
    return _World(
        config=config,
        dataset=dataset,
        factors=factors,
        claims=[
            [[claim for claim, true in zip(CLAIMS, row, strict=True) if true] for row in rows]
            for rows in table.tolist()
        ],
        truth=table,
        surprise=F.binary_cross_entropy(share, share, reduction="none").to(device),
        tokens=grammar_tokens(),
        device=device,
    )


def _initial_state(world: _World) -> _State:
    """Build the networks and the optimiser from the seed."""
    config = world.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        # Convolutions of few channels are a quarter faster this way on CPUs.
        model = build_clay_clip(len(world.tokens)).to(world.device)
        model.to(memory_format=torch.channels_last)
        reader = nn.Linear(CLAY_CLIP_CONFIG["embed_dim"], len(CLAIMS)).to(world.device)
    parameters = [*model.parameters(), *reader.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return _State(
        model=model.train(),
        averaged=copy.deepcopy(model).eval().requires_grad_(False),
        reader=reader,
        optimizer=torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98)),
    )


# A step


def _step(world: _World, state: _State) -> dict[str, float]:
    """Train once and return the parts of the loss."""
    config = world.config
    seed = step_seed(config.seed, state.step)
    batch = _batch(world, torch.Generator().manual_seed(seed), random.Random(seed))
    model: Any = state.model
    half = config.dtype == "bfloat16"
    with torch.autocast(world.device.type, dtype=torch.bfloat16, enabled=half):
        pictures, texts = model.encode_image(batch.images), encode_tokens(model, batch.tokens)
    pictures, texts = F.normalize(pictures.float()), F.normalize(texts.float())
    cosines = texts @ pictures.T  # [T, N]
    to_pictures, to_texts = contrastive_loss(model.logit_scale.exp() * cosines, batch.truth)
    read = state.reader(pictures * math.sqrt(pictures.shape[1]))
    misread = F.binary_cross_entropy_with_logits(read, batch.claims, reduction="none")
    claims = (misread / world.surprise).mean()  # 1 is what guessing gives, however rare a claim is
    loss = (to_pictures + to_texts) / 2 + config.claims_weight * claims
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * _rate(state.step, config.steps)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
    state.optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, _LARGEST_SCALE)
    _update_average(state)
    parts = {"loss": loss, "to_pictures": to_pictures, "to_texts": to_texts, "claims": claims}
    return {name: float(value.detach()) for name, value in parts.items()}


@dataclass(frozen=True)
class _Batch:
    """N pictures and T texts.

    Attributes:
        images: [N, 3, R, R] in [-1, 1].
        tokens: Numbered as the model does, [T, L]; T is a multiple of N, the pictures' in order.
        truth: Which texts are true of which pictures, bool [T, N].
        claims: Which claims are, 0 or 1, [N, len(CLAIMS)].
    """

    images: Tensor
    tokens: Tensor
    truth: Tensor
    claims: Tensor


def _batch(world: _World, stream: torch.Generator, words: random.Random) -> _Batch:
    """Draw pictures, some of them mirrored, and say things about each of them."""
    config, device = world.config, world.device
    rows = torch.randint(len(world.dataset), (config.batch,), generator=stream)
    mirror = torch.rand(config.batch, generator=stream) < 0.5
    images = _moved(distort(world.dataset.batch(rows, mirror), stream), stream)
    heads = list(zip(mirror.long().tolist(), rows.tolist(), strict=True))
    captions = [
        say(world.claims[m][row], words) for m, row in heads for _ in range(config.captions)
    ]
    tokenizer = standard_tokenizer()
    ids = [tokenizer.encode(caption.text) for caption in captions]
    tokens = torch.zeros(len(ids), 2 + max(map(len, ids)), dtype=torch.int64)
    place = {token: number for number, token in enumerate(world.tokens)}
    for row, text in enumerate(ids):
        whole = [tokenizer.sot_token_id, *text, tokenizer.eot_token_id]
        tokens[row, : len(whole)] = torch.tensor([place[token] for token in whole])
    heads_of = (mirror.long(), rows)
    truth = holds([caption.where for caption in captions], world.factors[heads_of])
    claims = world.truth[heads_of].float()
    images = images.to(device, memory_format=torch.channels_last)
    return _Batch(images, tokens.to(device), truth.to(device), claims.to(device))


def _moved(images: Tensor, stream: torch.Generator) -> Tensor:
    """Shift and zoom pictures a little, each by its own amount; edges are repeated."""
    n = len(images)
    zoom = 1 + _ZOOM * (2 * torch.rand(n, generator=stream) - 1)
    shift = 2 * _SHIFT * (2 * torch.rand(n, 2, generator=stream) - 1)
    matrix = torch.zeros(n, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = zoom
    matrix[:, :, 2] = shift
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _rate(step: int, steps: int) -> float:
    """Return the factor of the learning rate: a linear warm-up, half a cosine down."""
    down = 0.5 + 0.5 * math.cos(math.pi * step / steps) + _LAST_RATE
    return min(1.0, (step + 1) / _WARM_UP) * down


@torch.no_grad()
def _update_average(state: _State) -> None:
    """Move the averaged model towards the trained one, faster in the first steps."""
    keep = min(_AVERAGE_DECAY, (state.step + 1) / (state.step + 10))
    current = state.model.state_dict()
    for key, value in state.averaged.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[key], 1 - keep)
        else:
            value.copy_(current[key])


# The state on disk

_PARTS = ("model", "averaged", "reader", "optimizer")


def _parts(state: _State) -> dict[str, Part]:
    return {name: getattr(state, name) for name in _PARTS}


def _save_state(config: ClipTrainingConfig, state: _State) -> None:
    facts = {"recipe": config.recipe()}
    save_state(config.state_path, kind=_FORMAT, step=state.step, parts=_parts(state), facts=facts)


def _restore(config: ClipTrainingConfig, state: _State) -> None:
    """Put the state on disk into ``state``.

    Raises:
        GaneditError: It is none, of other options, or damaged.
    """
    content = restore_state(
        config.state_path,
        kind=_FORMAT,
        what="a CLIP's training",
        parts=_parts(state),
        changes=lambda facts: config.differences(facts.get("recipe") or {}),
    )
    state.step = content["step"]


def _is_ours(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return json.loads(metadata.get("ganedit", "{}")).get("format") == CLAY_CLIP_FORMAT
    except (SafetensorError, OSError, ValueError, AttributeError, RecursionError):
        return False
