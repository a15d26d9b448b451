import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ganedit.checkpoints import load_network
from ganedit.cli.direction_sheets import describe, tell_effects
from ganedit.editing import sample
from ganedit.editing.directions import latent_axes, scales_of
from ganedit.generators.statistics import SAMPLES
from ganedit.io import load_latent, save_latent
from ganedit.io.directions import Directions, load_directions, save_directions

QUICK = ["--heads", "2", "--degrees", "0", "--device", "cpu"]
COUNT = 40


@pytest.fixture
def table(tmp_path, network):
    """Latents in a file, and labels that two of their numbers tell."""
    latent = sample(network, range(COUNT))
    save_latent(tmp_path / "many.pt", latent)
    w = latent.ws[:, 0]
    rows = [
        f"{name},{float(row[0])},{int(row[1] > w[:, 1].median())},7"
        for name, row in zip(latent.names, w, strict=True)
    ]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["name,height,glasses,same", *reversed(rows)]))
    return tmp_path / "many.pt", path


def test_directions_follow_a_table_of_labels(run, network_path, network, table):
    latents, labels = table
    options = ["--labels", labels, "--network", network_path, "--measure", "none", *QUICK]
    result = run("directions", "fit", latents, *options)
    assert result.exit_code == 0, result.output
    assert "left out: same: is the same for all latents" in result.stderr
    found = load_directions("out/directions.pt")
    assert found.names == ("height", "glasses")
    assert (found.method, found.fingerprint) == ("fit", network.fingerprint)
    assert found.vectors.shape == (2, 1, network.generator.w_dim)
    assert found.facts[0]["r2"] > 0.5
    assert 0 <= found.facts[1]["accuracy"] <= 1
    assert found.facts[1]["labels"] == COUNT
    steps = found.vectors[0] * found.scales[0]
    assert steps[0, 0] > 0


def test_rows_without_names_are_in_order(run, network_path, table, tmp_path):
    latents, labels = table
    header, *rows = labels.read_text().splitlines()
    plain = tmp_path / "plain.csv"
    columns = [row.split(",")[1:] for row in (header, *reversed(rows))]
    plain.write_text("\n".join(",".join(row) for row in columns))
    common = ["--network", network_path, "--measure", "none", "--factors", "height", *QUICK]
    vectors = []
    for path in (labels, plain):
        result = run("directions", "fit", latents, "--labels", path, "--out", path.stem, *common)
        assert result.exit_code == 0, result.output
        vectors.append(load_directions(f"{path.stem}/directions.pt").vectors)
    assert torch.equal(*vectors)


def test_names_may_be_digits(run, network_path, table):
    latent = replace(load_latent(table[0]), names=tuple(map(str, range(COUNT))))
    save_latent("digits.pt", latent)
    rows = [f"{name},{float(w[0])}" for name, w in zip(latent.names, latent.ws[:, 0], strict=True)]
    common = ["--network", network_path, "--measure", "none", *QUICK]
    for header in ("name", "head"):
        Path("labels.csv").write_text("\n".join([f"{header},height", *reversed(rows)]))
        given = ["digits.pt", "--labels", "labels.csv", "--out", header, *common]
        assert run("directions", "fit", *given).exit_code == 0
        found = load_directions(f"{header}/directions.pt")
        assert found.names == ("height",)
        assert found.facts[0]["r2"] > 0.5


def test_seeds_of_a_class_can_be_labelled(run, class_network_path, tmp_path):
    path = tmp_path / "ages.csv"
    path.write_text("age\n" + "".join(f"{seed % 7}\n" for seed in range(30)))
    options = ["--labels", path, "--network", class_network_path, "--class", "1"]
    result = run("directions", "fit", "0-29", *options, "--measure", "none", *QUICK)
    assert result.exit_code == 0, result.output
    found = load_directions("out/directions.pt")
    assert found.names == ("age",)
    generator = load_network(class_network_path, device="cpu").generator
    labels = torch.eye(generator.c_dim)[1].expand(SAMPLES, -1)  # what is usual in this class
    expected = scales_of(found.vectors, found.layers, latent_axes(generator, labels))
    assert torch.allclose(found.scales, expected, rtol=1e-4)


def test_words_label_the_samples_of_any_network(run, network_path, network):
    words = ["--prompt", "smile", "--prompt", "glasses", "--clip", "clay-clip"]
    result = run(
        "directions", "fit", *words, "--samples", "60", "--network", network_path,
        "--unlike", "others", "--measure", "none", *QUICK,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = load_directions("out/directions.pt")
    assert found.names == ("smile", "glasses")
    assert found.vectors.shape[1] == network.generator.num_ws
    assert [fact["unlike"] for fact in found.facts] == ["glasses", "smile"]


def test_factors_of_clay_heads_rise_along_their_directions(run):
    result = run(
        "directions", "fit", "--factors", "light,yaw,pitch", "--unlike", "pitch", "--rounds", "1",
        "--samples", "400", "--heads", "8", "--degrees", "0", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = load_directions("out/directions.pt")
    assert found.names == ("light", "yaw", "pitch")
    for name, effects in zip(found.names, found.effects, strict=True):
        assert effects[name] > 0.1
    record = json.loads(result.stdout)
    assert record["directions"][1]["facts"]["unlike"] == "pitch"


def test_one_vector_for_all_layers_on_request(run):
    options = ["--factors", "yaw", "--unlike", "pitch", "--samples", "60", "--space", "w"]
    options += ["--measure", "none"]
    assert run("directions", "fit", *options, *QUICK).exit_code == 0
    assert load_directions("out/directions.pt").vectors.shape == (1, 1, 128)  # not of pitch


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("height\n1\n2\n", "has 2 rows for 40 latents"),
        ("name,height\n" + "".join(f"x{i},1\n" for i in range(COUNT)), "has no row for seed0000"),
        ("name,height\nx,1\nx,2\n", "two rows have the same name"),
        ("a,a\n1,2\n", "two columns have the same name"),
        ("a,b\n1\n", "row 1 has 1 cells, but the header 2"),
        ("a,b\n1,oh\n", "'oh' in row 1 of column 'b' is no number"),
        ("a\n", "expected a header and a row"),
        ("a;b\n" + "1;2\n" * COUNT, "not parted by commas"),
        (",".join("x" * 1001) + "\n1\n", "has 1001 columns; at most 1000"),
        ("a\n" + "1\n" * (COUNT - 1) + "1x\n", "'1x' in row 40 of column 'a' is no number"),
        ("a\n" + "nan\n" * COUNT, "nothing can be fitted"),
        ("a\n" + "1\n" * (COUNT - 1) + "nan\n", "nothing can be fitted"),
        ("a\n" + "1\n" * COUNT, "nothing can be fitted"),
    ],
)
def test_tables_that_do_not_fit_are_one_line(content, message, run, network_path, table, tmp_path):
    path = tmp_path / "bad.csv"
    if "'oh'" in message:
        content = "a,b\n1,oh\n" + "1,2\n" * (COUNT - 1)
    path.write_text(content)
    result = run("directions", "fit", table[0], "--labels", path, "--network", network_path)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_a_device_is_no_table(fails, network_path, table):
    options = ["--labels", "/dev/zero", "--network", network_path]
    assert "/dev/zero: is no regular file" in fails("directions", "fit", table[0], *options)


def test_columns_that_would_be_called_the_same_get_numbers(run, network_path, table, tmp_path):
    path = tmp_path / "same.csv"
    path.write_text("a b,a:b\n" + "".join(f"{n},{n % 3}\n" for n in range(COUNT)))
    options = ["--labels", path, "--network", network_path, "--measure", "none", *QUICK]
    assert run("directions", "fit", table[0], *options).exit_code == 0
    assert load_directions("out/directions.pt").names == ("a b", "a b-2")


def test_prompts_that_begin_the_same_are_told_apart_and_refined(run, network_path, monkeypatch):
    owners = []

    def refine(steps, effects, own, unlike, usual):
        owners.append(own)
        return steps, torch.ones(len(steps))

    monkeypatch.setattr("ganedit.editing.fit_directions.refine_directions", refine)
    words = "a head with glasses and very long hair:"
    prompts = ["--prompt", f"{words} smile", "--prompt", f"{words} beard"]
    given = [*prompts, *prompts[:2], "--unlike", "others", "--rounds", "1", "--samples", "20"]
    clip = ["--clip", "clay-clip", "--measure", "clip", "--network", network_path, *QUICK]
    assert run("directions", "fit", *given, *clip).exit_code == 0
    name = words[:35].strip()
    assert load_directions("out/directions.pt").names == (name, f"{name}-2")
    assert owners == [[0, 1]]


def test_rounds_without_anything_to_measure_are_refused(fails, network_path, monkeypatch):
    words = ["--prompt", "a beard", "--prompt", "a smile", "--clip", "clay-clip"]
    words += ["--unlike", "others", "--rounds", "1", "--samples", "20", *QUICK]
    line = fails("directions", "fit", *words)  # clay heads are measured by their factors
    assert "--rounds: a beard, a smile: what is measured is called otherwise (skin_tone, " in line
    monkeypatch.setattr("ganedit.cli.directions.open_meter", lambda *given, usual: None)
    line = fails("directions", "fit", *words, "--network", network_path)
    assert "--rounds: nothing measures the directions" in line


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--factors", "hat"], 1, "no labels of 'hat'; there are height, glasses, same"),
        (["--unlike", "hat"], 1, "no labels of 'hat'"),
        (["--factors", "same"], 1, "same: is the same for all latents"),
        (["--factors", "a,,b"], 2, "empty place"),
        (["--by", "clay"], 2, "leave out --by"),
        (["--samples", "50"], 2, "leave out --samples"),
    ],
)
def test_wishes_that_labels_do_not_meet(options, code, message, fails, network_path, table):
    latents, labels = table
    arguments = [latents, "--labels", labels, "--network", network_path, *options]
    assert message in fails("directions", "fit", *arguments, code=code)


def test_sources_that_contradict_each_other(fails, network_path, table):
    latents, labels = table
    assert "name the latents" in fails("directions", "fit", "--labels", labels, code=2)
    assert "are for --labels" in fails("directions", "fit", latents, code=2)
    assert "--by clip needs" in fails("directions", "fit", "--by", "clip", code=2)
    assert "--rounds needs --unlike" in fails("directions", "fit", "--rounds", "2", code=2)
    assert "is for --by clip" in fails(
        "directions", "fit", "--by", "clay", "--prompt", "smile", code=2
    )
    line = fails("directions", "fit", "--network", network_path)
    assert "draws no clay heads; say what shall rise by --prompt" in line


def test_effects_are_told_by_size_with_the_share_of_the_largest():
    effects = ({"a face, smiling": 0.1, "old": -0.3}, {"a face, smiling": 0.0, "old": 0.0})
    vectors = torch.ones(2, 1, 4)
    first, second = describe(Directions(vectors, ((), ()), ("a", "b"), effects=effects))
    assert tell_effects(first["effects"]) == ["old -0.3", "a face, smiling +0.1"]
    assert (first["purity"], second["purity"]) == (0.75, None)


def test_long_phrases_leave_room_for_their_numbers():
    effects = {"a head with glasses and very long hair": 0.5, "smile": -0.25}
    assert tell_effects(effects) == ["a head with glasses and v… +0.5", "smile -0.25"]


def test_files_are_listed(run, tmp_path):
    directions = Directions(
        vectors=torch.eye(2, 4)[:, None],
        layers=((), (0, 1, 2, 5)),
        names=("smile", "yaw"),
        scales=torch.tensor([1.5, 2.0]),
        method="fit",
        effects=({"yaw": 0.1, "smile": -0.3}, {"yaw": 0.5, "smile": 0.0}),
        facts=({"accuracy": 0.93}, {"r2": 0.5}),
    )
    save_directions(tmp_path / "ours.pt", directions)
    result = run("directions", "list", tmp_path / "ours.pt")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    for text in ("smile -0.3, yaw +0.1", "0.75", "0-2,5", "0.93", "2 directions (fit)"):
        assert text in result.stderr
    told = json.loads(run("directions", "list", tmp_path / "ours.pt", "--json").stdout)
    assert told["method"] == "fit"
    assert told["directions"][1]["effects"] == {"yaw": 0.5, "smile": 0.0}
    torch.save({"ckpt": "x.pt", "eigvec": torch.eye(4)}, tmp_path / "factor.pt")
    torch.save(torch.ones(4), tmp_path / "one.pt")
    assert "\n1 direction (" in "\n" + run("directions", "list", tmp_path / "one.pt").stderr
    foreign = run("directions", "list", tmp_path / "factor.pt")
    assert foreign.exit_code == 0, foreign.output
    assert "a generator that the file does not tell" in foreign.stderr


def test_the_embedded_ones_are_listed_by_name(run):
    told = json.loads(run("directions", "list", "clay-directions", "--json").stdout)
    effects = {one["name"]: one["effects"] for one in told["directions"]}
    for name in ("smile", "brows", "glasses", "beard", "hair_colour", "skin_tone", "yaw", "light"):
        assert next(iter(effects[name])) == name
        assert effects[name][name] > 0.1


def test_a_file_of_something_else_is_one_line(fails, tmp_path, latent_paths):
    assert "holds latents, not directions" in fails("directions", "list", latent_paths[0])
    assert "missing.pt" in fails("directions", "list", tmp_path / "missing.pt")
