import json
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import load_network
from ganedit.io import load_latent, write_image

WORDS = ("--source", "a bald man", "--target", "a woman with long hair")


@pytest.fixture
def options(network_path):
    return ("--network", network_path, "--clip", "clay-clip", "--steps", "2", "--device", "cpu")


def test_a_generator_is_adapted_and_draws_old_latents(
    run, options, network, network_path, latent_paths
):
    result = run("adapt", *WORDS, *options, "--out", "new/a.safetensors")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["new/a.safetensors", "new/a.png"]
    assert "cosine with the target" in result.stderr
    assert sorted(path.name for path in Path("new").iterdir()) == ["a.png", "a.safetensors"]
    adapted = load_network("new/a.safetensors", device="cpu")
    assert adapted.accepts(network.fingerprint)
    # The same command again replaces its own results.
    assert run("adapt", *WORDS, *options, "--out", "new/a.safetensors").exit_code == 0

    assert run("generate", "--network", "new/a.safetensors", "--seeds", "1").exit_code == 0
    drawing = ("--network", "new/a.safetensors", "--weights", "0.5,0.5", "--out", "mixed")
    result = run("interpolate", latent_paths[0], "7", *drawing)  # an old latent, and a new one
    assert result.exit_code == 0, result.output
    assert "drawn by new/a.safetensors" in result.stderr
    assert load_latent("mixed/combination.pt").fingerprint == adapted.fingerprint
    drawing = ("--network", network_path, "--weights", "0.5,0.5", "--out", "other")
    back = run("interpolate", "mixed/combination.pt", "7", *drawing)
    assert back.exit_code == 1
    assert "another generator" in back.stderr


def test_the_record_is_json(run, options):
    result = run("adapt", *WORDS, *options, "--out", "a.safetensors", "--json")
    record = json.loads(result.stdout)
    assert record["arguments"]["target"] == "a woman with long hair"
    assert -1 <= record["figures"]["direction"] <= 1
    assert record["figures"]["diversity_after"] > 0
    assert record["results"] == ["a.safetensors", "a.png"]


def test_words_that_are_not_read_and_collapses_are_told(run, options, monkeypatch):
    monkeypatch.setattr("ganedit.training.adaptation.COLLAPSED", 10.0)
    words = ("--source", "a bald man", "--target", "a zeppelin with long hair")
    result = run("adapt", *words, *options, "--out", "a.safetensors")
    assert result.exit_code == 0
    assert "does not know 'zeppelin'" in result.stderr
    assert "have become alike" in " ".join(result.stderr.split())


def test_two_clips_and_pictures(run, options):
    for index in range(2):
        write_image(Path(f"wanted/{index}.png"), torch.full((1, 3, 20, 20), 0.5))
    given = ("--target-images", "wanted", "--clip", "clay-clip", "--out", "a.safetensors")
    result = run("adapt", *options, *given)
    assert result.exit_code == 0, result.output
    provenance = load_network("a.safetensors", device="cpu").metadata["provenance"]
    assert provenance["clips"] == ["clay-clip, model"] * 2
    assert "target_images" not in provenance["recipe"]


def test_mistakes_are_one_line(fails, options, class_network_path):
    out = ("--out", "a.safetensors")
    assert "--target is missing" in fails("adapt", "--source", "a", *options, *out, code=2)
    same = ("--source", "a man", "--target", "a man")
    assert "no direction" in fails("adapt", *same, *options, *out, code=2)
    both = (*WORDS, "--target-images", "pictures")
    assert "takes the place" in fails("adapt", *both, *options, *out, code=2)
    assert "--lr" in fails("adapt", *WORDS, *options, *out, "--lr", "nan", code=2)
    unknown = ("--source", "a man", "--target", "zeppelin")
    assert "knows none of these words" in fails("adapt", *unknown, *options, *out)
    missing = ("--target-images", "nowhere")
    assert "nowhere: no such file or folder" in fails("adapt", *missing, *options, *out)
    Path("empty").mkdir()
    missing = ("--target-images", "empty")
    assert "empty: holds no pictures" in fails("adapt", *missing, *options, *out)
    conditional = (*options, "--network", class_network_path)
    assert "is conditional" in fails("adapt", *WORDS, *conditional, *out)
    Path("mine.safetensors").write_text("mine")
    assert "--overwrite" in fails("adapt", *WORDS, *options, "--out", "mine.safetensors")
    weights = ("--clip", "ViT-B-32", "--clip-weights", "w.pt")
    line = fails("adapt", *WORDS, *options, *out, *weights, code=2)
    assert "--clip-weights is for one CLIP" in line


def test_a_full_disk_is_told(fails, options, monkeypatch):
    def full(path, _writer):
        from ganedit.io.files import write_error

        raise write_error(path, OSError(28, "No space left on device"))

    monkeypatch.setattr("ganedit.io.files.write_atomic", full)
    line = fails("adapt", *WORDS, *options, "--out", "a.safetensors")
    assert "a.safetensors: no space left" in line


def test_an_interruption_is_told(run, options, monkeypatch):
    @contextmanager
    def interrupted():
        yield lambda: True

    with monkeypatch.context() as patch:
        patch.setattr("ganedit.training.resuming.interruptible", interrupted)
        result = run("adapt", *WORDS, *options, "--out", "a.safetensors")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert "saved at step 1; the same command goes on" in result.stderr
    assert [path.name for path in Path().iterdir()] == ["a.state.pt"]
    assert run("adapt", *WORDS, *options, "--out", "a.safetensors").exit_code == 0
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "a.safetensors"]
