"""The three ways to find an edit that fits words, as ``ganedit clip-edit`` takes them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ganedit.cli import console
from ganedit.cli.clips import open_chosen_clip
from ganedit.cli.edit_report import clay_judge
from ganedit.cli.masks import read_mask
from ganedit.cli.options import refuse_given
from ganedit.cli.sources import fetching
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from torch import Tensor

    from ganedit.checkpoints import LoadedMapper, Network
    from ganedit.editing.changes import Change
    from ganedit.editing.clip_edit import PromptScale
    from ganedit.features import ClayFeatures
    from ganedit.features.arcface import ArcFace
    from ganedit.features.clip import Clip
    from ganedit.io import Latent
    from ganedit.losses.clip import Prompt, TextTarget
    from ganedit.losses.identity import IdentityLoss

_OPTIONS = {
    "optimize": (
        "recipe",
        "space",
        "layers",
        "mask",
        "steps",
        "lr",
        "latent_weight",
        "identity_weight",
        "neutral",
    ),
    "global": ("alpha", "beta", "neutral"),
    "mapper": ("mapper",),
}
"""Parameters of the command that only some methods use."""

_LONGEST_CAPTION = 120


@dataclass(frozen=True, eq=False)
class Words:
    """What the pictures should show.

    Attributes:
        text: In one line, for captions.
        clip: What reads it; None where a mapper is used and no CLIP is at hand.
        target: What that makes of it; None where nothing is said, or there is no CLIP.
    """

    text: str
    clip: "Clip | None"
    target: "TextTarget | None"


def check_method(context: typer.Context, arguments: Mapping[str, Any]) -> None:
    """Refuse options of other methods, and what is missing for this one.

    Raises:
        typer.BadParameter: There is something (exit code 2).
    """
    method = arguments["method"]
    every = {name for names in _OPTIONS.values() for name in names}
    others = sorted(every - set(_OPTIONS[method]))
    refuse_given(context, others, why=f"--method {method} has no use for this")
    if method == "mapper" and arguments["mapper"] is None:
        raise typer.BadParameter("--method mapper needs --mapper FILE, made by train-mapper")
    if method != "mapper" and not arguments["prompt"]:
        raise typer.BadParameter('say what the picture should show, as --prompt "smile face"')
    if not arguments["latents"] and arguments["seed"] is None:
        refuse_given(context, ["trunc"], why="the mean face has no seed to truncate")


@dataclass(frozen=True, eq=False)
class Tools:
    """What some methods need.

    Attributes:
        mapper: For ``mapper``.
        arcface: Knows people again; None where its weights are missing.
        keep: For ``optimize``: what must not change, [1, 1, R, R] in [0, 1]; None for nothing.
        label: For ``global``: of a class; None where none is named.
    """

    mapper: "LoadedMapper | None" = None
    arcface: "ArcFace | None" = None
    keep: "Tensor | None" = None
    label: "Sequence[float] | None" = None


def open_tools(model: "Network", arguments: Mapping[str, Any]) -> Tools:
    """Return what the method needs of what the user named.

    Raises:
        GaneditError: A file is missing, damaged or something else.
    """
    from ganedit.checkpoints import class_label, load_mapper
    from ganedit.features.arcface import find_arcface

    device = model.generator.w_avg.device
    mapper, mask, weights = (arguments[key] for key in ("mapper", "mask", "identity_weights"))
    loaded = None
    if mapper is not None:
        with fetching("Fetching the mapper, MB") as on_progress:
            loaded = load_mapper(mapper, device=arguments["device"], on_progress=on_progress)
    keep = None if mask is None else read_mask(Path(mask), model)
    index = arguments["class_index"]
    label = None if index is None else class_label(model, index)
    return Tools(loaded, find_arcface(weights, device), keep, label)


def open_words(model: "Network", arguments: Mapping[str, Any], tools: Tools) -> Words:
    """Return the prompts as a CLIP sees them, after telling what it does not read.

    Args:
        model: The generator.
        arguments: Of the command.
        tools: Its mapper's file may say what it does, which stands in for prompts.

    Raises:
        GaneditError: A prompt is empty or cannot be read, or there is no CLIP, which only the
            mapper can do without.
    """
    from ganedit.checkpoints import PROMPT_JOINT
    from ganedit.losses.clip import parse_prompt

    prompts = [parse_prompt(prompt) for prompt in arguments["prompt"] or []]
    mapped = arguments["method"] == "mapper"
    trained = None if tools.mapper is None else tools.mapper.prompt
    try:
        clip = open_chosen_clip(model, arguments)
        if prompts or not mapped:
            neutral = _neutral(clip, arguments)
            return _read_words(clip, prompts, neutral, templates=arguments["templates"])
        told = [parse_prompt(text) for text in trained.split(PROMPT_JOINT)] if trained else []
        return _read_words(clip, told, None, templates=arguments["templates"])
    except GaneditError as error:
        if not mapped or prompts:
            raise
        console.note(f"no CLIP scores: {error}")
    return Words(_caption(trained or ""), None, None)


def _neutral(clip: "Clip", arguments: Mapping[str, Any]) -> str | None:
    """Return what the pictures show now: as the user says; a global direction always needs it."""
    from ganedit.editing.global_directions import default_neutral

    given: str | None = arguments["neutral"]
    wanted = given is None and arguments["method"] == "global"
    return default_neutral(clip) if wanted else given


def _read_words(
    clip: "Clip", prompts: "Sequence[Prompt]", neutral: str | None, *, templates: bool
) -> Words:
    from ganedit.features.clip import PHOTO_TEMPLATES
    from ganedit.losses.clip import encode_prompts

    sentences = PHOTO_TEMPLATES if templates else ("{}",)
    texts = [prompt.text for prompt in prompts] + ([] if neutral is None else [neutral])
    for line in clip.remarks(texts):
        console.warn(line)
    target = None
    if prompts:
        target = encode_prompts(clip, prompts, neutral=neutral, templates=sentences)
    shown = [one.text if one.weight == 1 else f"{one.text}:{one.weight:g}" for one in prompts]
    return Words(_caption(", ".join(shown)), clip, target)


def _caption(text: str) -> str:
    """Return a prompt as one line that is not endless."""
    line = console.one_line(text)
    return line if len(line) <= _LONGEST_CAPTION else line[:_LONGEST_CAPTION] + "…"


@dataclass(frozen=True, eq=False)
class Found:
    """An edit, and how it was found.

    Attributes:
        change: Of N rows.
        seconds: For each of them.
    """

    change: "Change"
    seconds: float


def find_change(
    method: str,
    model: "Network",
    latent: "Latent",
    words: Words,
    tools: Tools,
    settings: Mapping[str, Any],
) -> Found:
    """Return what an edit of strength 1 adds to latents.

    Args:
        method: ``optimize``, ``global`` or ``mapper``.
        model: The generator.
        latent: N latents of it.
        words: What their pictures should show.
        tools: See `Tools`.
        settings: What the user gave of the method's numbers.

    Raises:
        GaneditError: The method cannot do it.
    """
    if method == "mapper":
        from ganedit.editing.mapper import map_change

        mapper = tools.mapper
        assert mapper is not None
        return _timed(lambda: map_change(mapper, model, latent), len(latent))
    if method == "global":
        return _find_global(model, latent, words, tools, settings)
    return _optimise(model, latent, words, tools, settings)


def _find_global(
    model: "Network", latent: "Latent", words: Words, tools: Tools, settings: Mapping[str, Any]
) -> Found:
    """Return the edit by a global direction; what is measured for it is kept for the next time."""
    from ganedit.editing.global_directions import global_edit
    from ganedit.editing.style_statistics import RelevanceSettings, find_relevance

    clip, target = words.clip, words.target
    assert clip is not None
    assert target is not None
    measured = RelevanceSettings(label=None if tools.label is None else tuple(tools.label))
    with console.progress("Measuring style channels, once") as on_step:
        relevance = find_relevance(model, clip, measured, on_step=on_step, on_trouble=console.warn)
    return _timed(
        lambda: global_edit(model, latent, clip, target, relevance, **settings), len(latent)
    )


def _timed(find: "Callable[[], Change]", rows: int) -> Found:
    start = time.perf_counter()
    change = find()
    return Found(change, (time.perf_counter() - start) / rows)


def _optimise(
    model: "Network",
    latent: "Latent",
    words: Words,
    tools: Tools,
    settings: Mapping[str, Any],
) -> Found:
    """Return the edit by optimisation, of as many latents at a time as the memory holds."""
    from ganedit.cli.photos import batch_size
    from ganedit.editing.clip_edit import count_companions, measure_prompt, optimize_edit

    clip, target = words.clip, words.target
    assert clip is not None
    assert target is not None
    features = clay_judge(model)
    start = time.perf_counter()
    scale = measure_prompt(model, clip, target, features)
    spent = time.perf_counter() - start
    identity = _identity(features, tools.arcface, scale)
    size = batch_size(model.generator.img_resolution, model.generator.w_avg.device)
    recipe = settings.get("recipe", "ganedit")
    size = max(1, size // (1 + count_companions(model.generator, recipe)))
    firsts = range(0, len(latent), size)
    found = []
    with console.progress("Editing") as show:
        for done, first in enumerate(firsts):

            def on_step(
                step: int, total: int, values: Mapping[str, Any], *, done: int = done
            ) -> None:
                loss = float(values["loss"].mean())
                show(done * total + step, len(firsts) * total, {"loss": loss})

            part = latent.rows(first, min(first + size, len(latent)))
            edit = optimize_edit(
                model,
                part,
                clip,
                target,
                identity=identity,
                keep=tools.keep,
                scale=scale,
                on_step=on_step,
                **settings,
            )
            found.append(edit)
    spent += sum(one.seconds for one in found)
    return Found(_joined([one.change for one in found]), spent / len(latent))


def _identity(
    features: "ClayFeatures | None", arcface: "ArcFace | None", scale: "PromptScale"
) -> "IdentityLoss | None":
    """Return what keeps a head the same but for what the prompt speaks of."""
    from ganedit.losses.identity import ClayIdentity, identity_loss

    if features is not None:
        return ClayIdentity(features, spared=scale.told)
    if arcface is None:
        console.note(
            "ArcFace's weights are not at hand, so nothing holds on to the person but the distance"
            " to the start; give model_ir_se50.pth by --identity-weights"
        )
        return None
    return partial(identity_loss, arcface)


def _joined(changes: "Sequence[Change]") -> "Change":
    """Return the changes of the parts of a latent as one."""
    import torch

    from ganedit.editing.changes import Change

    if len(changes) == 1:
        return changes[0]
    rows = [change.ws for change in changes if change.ws is not None]
    layers = zip(*(one.offsets for one in changes if one.offsets is not None), strict=True)
    offsets = tuple(torch.cat(layer) for layer in layers)
    return Change(ws=torch.cat(rows) if rows else None, offsets=offsets or None)
