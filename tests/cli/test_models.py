import json

from ganedit.assets import embedded


def test_every_embedded_model_is_listed_with_its_card(run):
    result = run("models")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(embedded())
    for line, asset in zip(lines, embedded().values(), strict=True):
        assert asset.kind in line
        assert line.endswith(str(asset.card))


def test_the_list_is_also_json(run):
    facts = json.loads(run("models", "--json").stdout)
    assert [fact["name"] for fact in facts] == list(embedded())
    assert {"name", "kind", "megabytes", "weights", "card"} == set(facts[0])


def test_a_name_shows_the_card(run, monkeypatch, tmp_path):
    from dataclasses import replace

    import ganedit.assets

    card = tmp_path / "clay.md"
    card.write_text("# clay\n\nHeads.\n")
    asset = replace(embedded()["clay"], card=card)
    monkeypatch.setattr(ganedit.assets, "embedded", lambda: {"clay": asset})
    assert run("models", "clay").stdout == "# clay\n\nHeads.\n"
    card.unlink()
    assert run("models", "clay").exit_code == 1


def test_an_unknown_name_is_one_line(fails):
    assert "no embedded model 'marble'" in fails("models", "marble")
