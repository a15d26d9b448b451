import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganedit.data.clayheads import CLAIMS, caption, holds, render, sample_factors, true_claims
from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.errors import GaneditError
from ganedit.features.clay_clip import grammar_tokens, load_clay_clip, standard_tokenizer
from ganedit.training import clip as module
from ganedit.training.clip import contrastive_loss, train_clip
from ganedit.training.clip_config import ClipTrainingConfig
from ganedit.training.clip_scores import PROMPTS, score_clip
from ganedit.training.features import mirror_factors


@pytest.fixture
def config(archive: Path, tmp_path: Path) -> ClipTrainingConfig:
    return ClipTrainingConfig(
        data=archive, out=tmp_path / "c.safetensors", kimg=0.024, batch=4, dtype="float32",
        device="cpu",
    )  # fmt: skip


def trained(config: ClipTrainingConfig, **settings: Any) -> dict[str, Tensor]:
    result = train_clip(config, **settings)
    assert result.reason == "done"
    assert result.clip is not None
    return load_clay_clip(config.out).model.state_dict()


def test_the_loss_is_a_divergence_from_all_that_is_true() -> None:
    stream = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=stream, dtype=torch.float64)
    truth = torch.rand(5, 3, generator=stream) < 0.4
    truth[0] = truth[:, 0] = True
    wanted = [0.0, 0.0]
    for axis, table, true in ((0, logits, truth), (1, logits.T, truth.T)):
        for row, positives in zip(table, true, strict=True):
            share = 1 / int(positives.sum())
            chances = row.exp() / row.exp().sum()
            parts = [share * math.log(share / float(chances[i])) for i in positives.nonzero()]
            wanted[axis] += sum(parts) / len(table)
    assert [float(loss) for loss in contrastive_loss(logits, truth)] == pytest.approx(wanted)
    perfect = torch.where(truth[:1], 0.0, -math.inf).expand(2, 3)
    assert float(contrastive_loss(perfect[:1], truth[:1])[0]) == pytest.approx(0)


@pytest.mark.slow
def test_a_training_learns_what_is_said(config: ClipTrainingConfig) -> None:
    losses: list[float] = []
    config = dataclasses.replace(config, kimg=0.72, batch=12, learning_rate=2e-3)
    result = train_clip(config, on_step=lambda _step, _total, v: losses.append(v["loss"]))
    assert len(losses) == result.step == config.steps
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert not config.state_path.exists()
    assert result.clip is not None
    # It has learnt the twelve heads by heart.
    factors = sample_factors(range(12))
    pictures = result.clip.encode_images(render(factors, resolution=64).image)
    texts = result.clip.encode_texts(["dark skin", "light skin"])
    tone = factors[:, FACTOR_INDEX["skin_tone"]]
    score = pictures @ (texts[0] - texts[1])
    assert torch.corrcoef(torch.stack([tone, score]))[0, 1] > 0.5


def test_a_killed_training_goes_on_as_if_it_had_not_been(
    config: ClipTrainingConfig, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, state_kimg=0.008)
    whole = trained(config)

    def kill(step: int, _total: int, _values: Any) -> None:
        if step == 5:
            raise KeyboardInterrupt

    again = dataclasses.replace(config, out=tmp_path / "again.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train_clip(again, on_step=kill)
    assert again.state_path.exists()
    assert not again.out.exists()
    steps: list[int] = []
    resumed = trained(again, on_step=lambda step, _total, _values: steps.append(step))
    assert steps == [5, 6]  # the state is that of step 4
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key


def test_a_state_of_other_options_is_refused(config: ClipTrainingConfig) -> None:
    def kill(step: int, _total: int, _values: Any) -> None:
        if step == 2:
            raise KeyboardInterrupt

    config = dataclasses.replace(config, state_kimg=0.004)
    with pytest.raises(KeyboardInterrupt):
        train_clip(config, on_step=kill)
    with pytest.raises(GaneditError, match=r"--lr 0.002 is now 0.004; |--lr 0.002 is now 0.004\)"):
        train_clip(dataclasses.replace(config, learning_rate=0.004))
    config.state_path.write_bytes(b"mine")
    with pytest.raises(GaneditError, match=r"c\.state\.pt"):
        train_clip(config)


def test_bad_values_and_targets_are_refused(config: ClipTrainingConfig, tmp_path: Path) -> None:
    with pytest.raises(GaneditError, match="--lr must be"):
        train_clip(dataclasses.replace(config, learning_rate=math.nan))
    config.out.write_text("mine")
    with pytest.raises(GaneditError, match="--overwrite"):
        train_clip(config)
    trained(config, overwrite=True)
    trained(config)  # its own earlier result


def test_a_divergence_is_one_line(config: ClipTrainingConfig, monkeypatch) -> None:
    bad = {"loss": math.nan}
    monkeypatch.setattr(module, "_step", lambda *_: bad)
    with pytest.raises(GaneditError, match=r"diverged at step 1;.*--lr 0.001"):
        train_clip(config)


def test_a_batch_says_what_is_true_of_its_mirrored_pictures(config: ClipTrainingConfig) -> None:
    world = module._world(dataclasses.replace(config, batch=12, captions=2))
    batch = module._batch(world, torch.Generator().manual_seed(1), random.Random(1))
    assert batch.images.shape == (12, 3, 64, 64)
    assert batch.truth.shape == (24, 12)
    assert all(batch.truth[2 * row + k, row] for row in range(12) for k in range(2))
    assert batch.tokens.shape[0] == 24
    assert batch.tokens.max() == len(grammar_tokens()) - 1
    assert batch.claims.shape == (12, len(CLAIMS))
    assert 0.1 < batch.claims.mean() < 0.3
    # A claim that is true of half of the heads takes one bit.
    assert world.surprise.max() <= math.log(2) + 1e-6
    assert world.surprise.min() > 0.09


def test_mirroring_swaps_left_and_right_words() -> None:
    factors = sample_factors(range(200))
    plain, mirrored = true_claims(factors), true_claims(mirror_factors(factors))
    swaps = {"looking left": "looking right", "lit from the left": "lit from the right"}
    for left, right in swaps.items():
        columns = [
            next(i for i, claim in enumerate(CLAIMS) if word in claim.phrases())
            for word in (left, right)
        ]
        assert torch.equal(plain[:, columns[0]], mirrored[:, columns[1]])
    same = [i for i, claim in enumerate(CLAIMS) if not claim.where.keys() & {"yaw", "light"}]
    assert torch.equal(plain[:, same], mirrored[:, same])


def test_moved_pictures_stay_close() -> None:
    images = render(sample_factors(range(4)), resolution=64).image
    moved = module._moved(images, torch.Generator().manual_seed(0))
    again = module._moved(images, torch.Generator().manual_seed(0))
    assert torch.equal(moved, again)
    assert 0 < (F.avg_pool2d(moved, 16) - F.avg_pool2d(images, 16)).abs().mean() < 0.12


def test_scores_of_a_clip_that_knows_nothing_are_those_of_chance(
    config: ClipTrainingConfig,
) -> None:
    clip = train_clip(dataclasses.replace(config, kimg=0.004)).clip
    assert clip is not None
    scores = score_clip(clip, range(2**30, 2**30 + 48), resolution=32)
    assert scores.top1 <= scores.top5 < 0.4
    assert scores.chance < 0.4
    assert list(scores.prompts) == [prompt for prompt, _ in PROMPTS]
    assert all(0 <= share <= 1 for share in scores.prompts.values())


def test_each_prompt_and_its_opposite_say_what_cannot_both_be_true() -> None:
    factors = sample_factors(range(2000))
    tokens = set(grammar_tokens())
    for pair in PROMPTS:
        wheres = [next(c.where for c in CLAIMS if phrase in c.phrases()) for phrase in pair]
        first, second = holds(wheres, factors)
        assert not (first & second).any()
        assert min(first.sum(), second.sum()) > 20
        assert all(tokens.issuperset(standard_tokenizer().encode(phrase)) for phrase in pair)


def test_the_fixed_captions_are_known_words_too() -> None:
    tokens = set(grammar_tokens())
    for row in sample_factors(range(300)):
        assert tokens.issuperset(standard_tokenizer().encode(caption(row)))
