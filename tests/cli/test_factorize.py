import json

import pytest

from ganedit.checkpoints import load_network, save_network
from ganedit.cli.meters import read_phrases
from ganedit.editing.factorize import sefa
from ganedit.errors import GaneditError
from ganedit.io import read_image
from ganedit.io.directions import load_directions
from ganedit.metrics.edits import EDIT_CASES
from tests.conftest import make_generator

QUICK = ["--count", "2", "--heads", "2", "--degrees=-2,0,2", "--device", "cpu"]


@pytest.mark.parametrize("method", ["sefa", "rosinality", "ganspace"])
def test_directions_are_written_with_a_sheet(method, run, network_path, network):
    options = ["--network", network_path, "--method", method, "--measure", "none"]
    result = run("factorize", *options, *QUICK)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["out/directions.pt", "out/directions.png", "out/run.json"]
    found = load_directions("out/directions.pt")
    assert found.names == (f"{method}-0", f"{method}-1")
    assert (found.method, found.fingerprint) == (method, network.fingerprint)
    assert found.layers == ((), ())
    assert found.facts[0]["strength"] > found.facts[1]["strength"] > 0
    assert read_image("out/directions.png").shape[1:] == (3, 2 * 96 + 24, 3 * 96 + 192)
    assert f"{method}-1" in result.stderr


def test_sefa_s_layers_are_its_own_numbers(run, network_path):
    result = run(
        "factorize", "--network", network_path, "--layers", "0-1", "--measure", "none", *QUICK
    )
    assert result.exit_code == 0, result.output
    assert load_directions("out/directions.pt").layers == ((0, 1),) * 2


def test_directions_of_clay_heads_are_measured_and_named(run):
    result = run("factorize", *QUICK, "--rows", "1", "--seed", "3", "--json")
    assert result.exit_code == 0, result.output
    found = load_directions("out/directions.pt")
    for name, effects in zip(found.names, found.effects, strict=True):
        largest = max(effects, key=lambda factor: abs(effects[factor]))
        assert name.startswith(largest)
        assert effects[largest] > 0
    plain = sefa(load_network("clay", device="cpu").generator, count=2).directions
    assert ((found.vectors[:, 0] * plain).sum(1).abs() > 0.999).all()
    record = json.loads(result.stdout)
    assert [one["name"] for one in record["directions"]] == list(found.names)
    assert 0 < record["directions"][0]["purity"] <= 1


def test_phrases_measure_any_network(run, network_path):
    options = ["--clip", "clay-clip", "--phrases", "smile", "--phrases", "glasses"]
    result = run("factorize", "--network", network_path, *options, *QUICK)
    assert result.exit_code == 0, result.output
    found = load_directions("out/directions.pt")
    assert set(found.effects[0]) == {"smile", "glasses"}
    assert found.facts[0]["unit"] == "cosine"
    assert {name.split("+")[0].split("-")[0] for name in found.names} <= {"smile", "glasses"}


def test_clay_heads_can_be_measured_by_words(run):
    result = run("factorize", "--measure", "clip", "--count", "1", "--heads", "1", "--degrees", "0")
    assert result.exit_code == 0, result.output
    (effects,) = load_directions("out/directions.pt").effects
    assert set(effects) == {case.prompt for case in EDIT_CASES}


def test_without_a_clip_directions_keep_their_numbers(run, network_path, monkeypatch):
    def missing(*_, **__):
        raise GaneditError("no CLIP here")

    monkeypatch.setattr("ganedit.cli.meters.open_chosen_clip", missing)
    result = run("factorize", "--network", network_path, *QUICK)
    assert result.exit_code == 0, result.output
    assert "neither measured nor named: no CLIP here" in result.stderr
    assert load_directions("out/directions.pt").names == ("sefa-0", "sefa-1")


def test_classes(run, fails, class_network_path):
    options = ["--network", class_network_path, "--measure", "none", *QUICK]
    assert "choose one with --class" in fails("factorize", *options)
    result = run("factorize", *options, "--class", "2", "--method", "ganspace")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--count", "0"], 1, "count: got 0, but there are 1 to 16"),
        (["--count", "1000000"], 1, "count: got 1000000, but there are 1 to 16"),
        (["--layers", "0-99"], 1, "layers: got layer 6, but the generator has layers 0-5"),
        (["--layers", "0-99", "--method", "ganspace"], 1, "layers: got layer 6"),
        (["--layers", "x"], 2, "neither a whole number nor a range"),
        (["--degrees", "nan"], 2, "'nan' is not a number"),
        (["--degrees", "0,inf"], 2, "is not a number"),
        (["--rows", "99"], 1, "no direction 99; there are 10"),
        (["--measure", "clay"], 1, "draws no clay heads"),
        (["--measure", "none", "--phrases", "x"], 2, "--phrases are for a CLIP"),
        (["--measure", "clip", "--phrases", " "], 1, "--phrases: there is none"),
    ],
)
def test_what_cannot_be_done_is_one_line(options, code, message, fails, network_path):
    arguments = ["--network", network_path, "--measure", "none", *options]
    assert message in fails("factorize", *arguments, code=code)


def test_phrases_come_from_files_too(tmp_path):
    path = tmp_path / "phrases.txt"
    path.write_text("a smile\n\n  a hat \na smile\n")
    assert read_phrases(["a beard", str(path)]) == ["a beard", "a smile", "a hat"]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GaneditError, match="no text in UTF-8"):
        read_phrases([str(path)])
    with pytest.raises(GaneditError, match="at most 1000"):
        read_phrases([str(number) for number in range(2000)])


def test_pictures_that_are_not_finite_are_told(fails, tmp_path):
    generator = make_generator()
    names = dict(generator.named_parameters())
    names["synthesis.b4.torgb.weight"].fill_(3e38)
    path = tmp_path / "large.safetensors"
    save_network(path, generator, provenance={})
    options = ["--network", path, "--clip", "clay-clip", *QUICK]
    assert "of the sheet holds NaN" in fails("factorize", *options, "--measure", "none")
