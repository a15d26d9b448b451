"""The truth table of edits: python examples/measure_edits.py [optimize|global|mapper FOLDER]."""

import sys

import torch

import ganedit
from ganedit.checkpoints import load_mapper
from ganedit.cli.edit_methods import Tools, Words, find_change  # as clip-edit calls them
from ganedit.editing import stack
from ganedit.editing.global_directions import default_neutral
from ganedit.features import load_clay_features
from ganedit.losses.clip import Prompt, encode_prompts
from ganedit.metrics.edits import EDIT_CASES, pick_heads, score_edits


def main(method: str, folder: str = "", cases=EDIT_CASES, count: int = 16, **settings) -> list:
    network, clip, features = ganedit.load("clay"), ganedit.load_clip(), load_clay_features()
    encoder, heads, scores = ganedit.load_encoder("clay-encoder"), {}, []
    neutral = default_neutral(clip) if method == "global" else None
    for case in cases:
        seeds = pick_heads(case, count)
        if new := [seed for seed in seeds if seed not in heads]:
            photos = ganedit.render(ganedit.sample_factors(new)).image
            start = ganedit.encode(network, encoder, photos)
            found = ganedit.project(network, photos, initial=start).latent(network)
            heads |= {seed: found.row(row) for row, seed in enumerate(new)}
        latent = stack([heads[seed] for seed in seeds])
        words = Words("", clip, encode_prompts(clip, [Prompt(case.prompt)], neutral=neutral))
        tools = Tools(load_mapper(f"{folder}/{case.prompt}.safetensors")) if folder else Tools()
        edit = find_change(method, network, latent, words, tools, settings)
        edited = ganedit.apply_change(latent, edit.change)
        before, after = (torch.cat([*ganedit.synthesize(network, x)]) for x in (latent, edited))
        scores.append(score := score_edits(case, features, before, after))
        print(f"| {case.prompt} | {score.right:.0%} | {score.others:.3f} | {edit.seconds:.2f} |")
    return scores


if __name__ == "__main__":
    main(*sys.argv[1:3] or ["optimize"])
