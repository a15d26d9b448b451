"""``ganedit clip-edit``: change pictures by words."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganedit.cli import console
from ganedit.cli.clips import (
    ClipDownloadOption,
    ClipOption,
    ClipPreprocessOption,
    ClipWeightsOption,
)
from ganedit.cli.edit_methods import check_method, find_change, open_tools, open_words
from ganedit.cli.edit_report import judge_all, open_judges, report, tell
from ganedit.cli.edit_results import Edit, draw, parse_strengths, result_names, write_edit
from ganedit.cli.heads import open_heads
from ganedit.cli.options import (
    SEED_LIMIT,
    ClassOption,
    DeviceOption,
    FpsOption,
    JsonOption,
    OptionalNetworkOption,
    OutOption,
    OverwriteOption,
    TruncationOption,
    finite,
    parse_numbers,
    refuse_given,
)
from ganedit.cli.pasting import PasteBackOption
from ganedit.cli.sources import keep_tuning
from ganedit.errors import GaneditError

if TYPE_CHECKING:
    from ganedit.checkpoints import Network


_ALPHA = (
    "For global: how far the channel that moves most goes, in its standard deviations; by default"
    " what each head needs."
)
_BETA = (
    "For global: StyleCLIP's recipe, 0.15 there: channels whose relevance is smaller stay; by"
    " default all move such that what they do besides cancels."
)


def _number(flag: str, text: str, *, high: float = 1e6, low: float = 0) -> Any:
    return typer.Option(flag, min=low, max=high, callback=finite, help=text)


def clip_edit(
    context: typer.Context,
    latents: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LATENT",
            help="Latent files or seeds; by default the generator's mean face.",
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT[:WEIGHT]",
            help="What the picture should show. Several count by their weights, 1 each by default;"
            " a negative weight says what it should not show.",
        ),
    ] = None,
    neutral: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What it shows now, such as 'a face': the edit goes from there to the prompt. For"
            " optimize, and for global, where 'a face' is the default.",
        ),
    ] = None,
    templates: Annotated[
        bool,
        typer.Option(
            "--templates",
            help="Put every text into seven sentences, such as 'a photo of ...', and take the mean:"
            " steadier with large CLIPs.",
        ),
    ] = False,
    method: Annotated[
        Literal["optimize", "global", "mapper"],
        typer.Option(
            help="Optimise each latent; move it along a direction that is the same for all, in well"
            " under a second once the generator is measured; or ask a trained mapper."
        ),
    ] = "optimize",
    mapper: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="For mapper: of ganedit train-mapper, or of StyleCLIP."),
    ] = None,
    strength: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|LIST|A:B:COUNT",
            help="How much of the edit: 1 is all, 0 nothing, -1 its opposite. A list, or -1:1:5 for"
            " five from -1 to 1, is drawn as a strip; its last is the result.",
        ),
    ] = "1",
    recipe: Annotated[
        Literal["ganedit", "styleclip"],
        typer.Option(
            help="For optimize: ganedit's, which a small CLIP cannot fool; or StyleCLIP's own, for"
            " large ones: 300 steps of Adam on the numbers themselves."
        ),
    ] = "ganedit",
    space: Annotated[
        Literal["w+", "s"],
        typer.Option(
            help="For optimize: move the latents of the layers (w+), or single channels of their"
            " styles (s)."
        ),
    ] = "w+",
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="For optimize: layers that may change, such as 0-3,8; the first ones carry pose,"
            " the last ones colour.",
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For optimize: a picture that is white where the head should stay as it is.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="For optimize: steps; by default 60, or the recipe's."
        ),
    ] = None,
    lr: Annotated[
        float | None,
        _number("--lr", "For optimize: largest learning rate; by default 0.1.", low=1e-6, high=100),
    ] = None,
    latent_weight: Annotated[
        float | None,
        _number(
            "--latent-weight",
            "For optimize: weight of staying near; by default 0.01, or the recipe's.",
        ),
    ] = None,
    identity_weight: Annotated[
        float | None,
        _number(
            "--identity-weight",
            "For optimize: weight of what should stay; by default 0.7, or the recipe's.",
        ),
    ] = None,
    identity_weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="ArcFace's weights, model_ir_se50.pth, which know aligned faces of people; by"
            " default torch's cache.",
        ),
    ] = None,
    alpha: Annotated[float | None, _number("--alpha", _ALPHA, low=-1000, high=1000)] = None,
    beta: Annotated[
        float | None,
        _number("--beta", _BETA, high=1),
    ] = None,
    video: Annotated[
        bool, typer.Option("--video", help="Also write a video from the start there and back.")
    ] = False,
    fps: FpsOption = 30,
    paste_back: PasteBackOption = False,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=SEED_LIMIT - 1, help="Edit this seed's head, not the mean face."
        ),
    ] = None,
    trunc: TruncationOption = 0.7,
    class_index: ClassOption = None,
    network: OptionalNetworkOption = None,
    clip: ClipOption = "auto",
    clip_weights: ClipWeightsOption = None,
    clip_download: ClipDownloadOption = False,
    clip_preprocess: ClipPreprocessOption = "model",
    out: OutOption = Path("out"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Edit heads by words, and say what that did.

    Writes, for photo.pt: photo-edited.pt (the latent), photo-edited.png, photo-comparison.png,
    photo-slider.html (before and after, for a browser), with several strengths photo-strip.png,
    and with --video photo-edit.mp4. Prints how well the pictures fit the words before and after,
    whether it is the same person, and for clay heads what else changed.

    Example: ganedit clip-edit --prompt "smile face"
    """
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in locals().items()}
    del arguments["context"]
    check_method(context, arguments)
    strengths = parse_strengths(strength)
    if not video:
        refuse_given(context, ["fps"], why="--fps is for --video")

    from ganedit.io import OutputFolder

    files = [*(latents or []), mask or "", mapper or ""]
    folder = OutputFolder(out, command="clip-edit", overwrite=overwrite, inputs=files)
    # A global direction is measured for the class, which latent files do not tell.
    heads = open_heads(arguments, class_is_for_all=method == "global")
    model = heads.model
    outputs = result_names(heads.names, strengths, video=video)
    folder.claim(outputs + [f"{name}-edited-pasted.png" for name in heads.pasted()])
    tools = open_tools(model, arguments)
    words = open_words(model, arguments, tools)
    settings = _settings(arguments, model)
    found = find_change(method, model, heads.latent, words, tools, settings)
    edit = Edit(heads, found.change, strengths, words.text, fps if video else None)
    before, after = draw(edit)
    judges = open_judges(model, words.clip, words.target, tools.arcface)
    results = judge_all(judges, edit, before, after, seconds=found.seconds)
    paths = write_edit(folder, edit, before, after, notes=[tell(one) for one in results])
    paths += keep_tuning(folder, model)
    record = {
        "arguments": arguments,
        "generator": {"network": model.home, "fingerprint": model.fingerprint},
        "clip": words.clip and words.clip.name,
        "strengths": strengths,
        "results": results,
    }
    paths.append(folder.finish(record))
    report(results)
    console.emit_json(record) if as_json else console.emit_paths(paths)


def _settings(arguments: Mapping[str, Any], model: "Network") -> dict[str, Any]:
    """Return the numbers of the method that the user gave.

    Raises:
        GaneditError: The generator has no such layer.
    """
    if arguments["method"] == "mapper":
        return {}
    if arguments["method"] == "global":
        return {key: arguments[key] for key in ("alpha", "beta") if arguments[key] is not None}
    settings = {
        key: arguments[key]
        for key in ("recipe", "space", "steps", "latent_weight", "identity_weight")
    }
    settings["learning_rate"] = arguments["lr"]
    if arguments["layers"] is not None:
        settings["layers"] = parse_numbers(arguments["layers"], what="layers", limit=1000)
        if max(settings["layers"]) >= model.generator.num_ws:
            raise GaneditError(
                f"--layers: there is no layer {max(settings['layers'])}; this generator has 0 to"
                f" {model.generator.num_ws - 1}"
            )
    return {key: value for key, value in settings.items() if value is not None}
