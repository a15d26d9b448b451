"""Every example runs, shortened; every line of Python in the README runs too."""

import json
import re
import runpy
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def load(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / name))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_scripts_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 40


def test_the_library_example_writes_its_results(tmp_path: Path) -> None:
    load("library.py")["main"](tmp_path, steps=3)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"photo.pt", "photo-2.pt", "walk.gif", "mixed.png"}


def test_the_figures_of_the_documentation_can_be_made(tmp_path: Path) -> None:
    load("make_figures.py")["main"](tmp_path, count=2, steps=2)
    assert {path.name for path in tmp_path.iterdir()} == {"samples.png", "tour.png"}
    load("make_views.py")["main"](tmp_path / "around", heads=1, points=32)
    names = {path.name for path in (tmp_path / "around").iterdir()}
    assert names == {"render-views.png", "mesh.png"}


def test_the_measurements_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ganedit.cli.app import app

    data = tmp_path / "clay.zip"
    CliRunner().invoke(app, ["dataset", "clay", "--count", "6", "--out", str(data)])
    assert zipfile.is_zipfile(data)
    psnr = load("measure_clay.py")["main"](str(data), count=6, photos=2, steps=3)
    assert psnr > 5
    assert "Fréchet distance" in capsys.readouterr().out


def test_the_measurements_of_the_encoder_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("measure_encoder.py")["main"](photos=2) > 15
    assert "ms a photo" in capsys.readouterr().out


def test_the_measurements_of_adaptation_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganedit.cli.app import app

    path = tmp_path / "bald.safetensors"
    words = ["--source", "a head", "--target", "a bald head", "--steps", "1", "--device", "cpu"]
    CliRunner().invoke(app, ["adapt", *words, "--out", str(path)])
    assert load("measure_adapt.py")["main"](str(path), {"hair_style": 0}, heads=8) < 0.9
    assert "yaw: correlation with before 1.00" in capsys.readouterr().out


def test_the_measurements_of_the_clip_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("measure_clip.py")["main"](heads=32) > 0.8
    assert "ms a prompt" in capsys.readouterr().out


def test_the_measurements_of_edits_run(capsys: pytest.CaptureFixture[str]) -> None:
    from ganedit.metrics.edits import EDIT_CASES

    main = load("measure_edits.py")["main"]
    (score,) = main("optimize", "", EDIT_CASES[:1], 1, steps=2)
    assert -1 <= score.moved <= 1
    assert capsys.readouterr().out.startswith("| smile | ")


def test_the_measurements_of_emojify_run(capsys: pytest.CaptureFixture[str]) -> None:
    found = load("measure_emojify.py")["main"]("clay", heads=4, steps=2)
    assert found[8, "clay-features"] == found[0, "clay-features"]  # clay with itself is clay
    assert "| clay | clay-features |" in capsys.readouterr().out


def test_the_figure_of_the_edits_can_be_made(tmp_path: Path) -> None:
    load("edit_by_words.py")["main"](tmp_path, ("smile",), {"optimize": {"steps": 2}})
    assert (tmp_path / "clip-edit.png").stat().st_size > 1000


def test_the_measurements_of_tuning_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load("measure_tuning.py")["main"](tmp_path, photos=1, projection=3, steps=6) > 0
    assert "rank 16" in capsys.readouterr().out


def test_the_figure_of_the_alignment_can_be_made(tmp_path: Path) -> None:
    load("align_photo.py")["main"](tmp_path, steps=2)
    assert (tmp_path / "align.png").stat().st_size > 1000


def test_the_measurements_of_the_alignment_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("measure_alignment.py")["main"](count=1, side=128) == 1
    assert "pixels of 64" in capsys.readouterr().out


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    exec(compile(code.replace("steps=200", "steps=3"), "README.md", "exec"), {})
    assert (tmp_path / "photo.pt").stat().st_size > 1000
    assert (tmp_path / "walk.mp4").stat().st_size > 1000


def test_the_readme_projects_the_sample_photo(tmp_path: Path, monkeypatch) -> None:
    """The first command of the README, after its installation."""
    from ganedit.cli.app import app

    (command,) = re.findall(
        r"\.venv/bin/ganedit (project [^\n]*)\n", (ROOT / "README.md").read_text()
    )
    monkeypatch.chdir(ROOT)
    arguments = [*command.split(), "--out", str(tmp_path), "--steps", "3"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "photo-comparison.png").exists()


def test_the_table_of_factors_is_the_code_s() -> None:
    from ganedit.data.clayheads import FACTORS

    page = (ROOT / "docs" / "clayheads.md").read_text()
    for f in FACTORS:
        assert f"| `{f.name}` | {f.low:g} to {f.high:g} | {f.unit} | {f.moves} |" in page


def test_the_speed_of_projection_can_be_measured(tmp_path: Path) -> None:
    curves = load("measure_inversion.py")["main"](str(tmp_path / "curves.png"), photos=1, steps=2)
    assert list(curves) == ["mean, w", "mean, w+", "encoder, w+"]
    assert (tmp_path / "curves.png").exists()


def test_methods_of_inversion_can_be_compared() -> None:
    rows = load("measure_methods.py")["main"](photos=1, steps=2, refinement=2, updates=2)
    assert list(rows) == ["mean, w", "mean, w+", "encoder", "refined", "tuned"]
    mean, encoded, tuned = (rows[key]["clay"] for key in ("mean, w", "encoder", "tuned"))
    assert mean > encoded > tuned


def test_the_measurements_of_directions_run(capsys: pytest.CaptureFixture[str]) -> None:
    effects = load("measure_directions.py")["main"](count=2, heads=1)
    assert set(effects) == {"supervised", "SeFa", "GANSpace"}
    assert len(effects["SeFa"]) == 2
    assert "of the first 2 move one factor mostly" in capsys.readouterr().out


def test_the_measurements_of_views_run(capsys: pytest.CaptureFixture[str]) -> None:
    found = load("measure_views.py")["main"](heads=2, views=3)
    assert list(found) == ["clay-3d", "the world itself"]
    assert all(told.slope > 0.7 for told in found.values())
    assert "jaw: over views" in capsys.readouterr().out


def test_the_measurements_of_photos_as_volumes_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganedit.checkpoints import save_network
    from tests.conftest import make_triplane

    volume = make_triplane(img_resolution=64, sr_resolution=32, neural_resolution=16)
    save_network(tmp_path / "volume.safetensors", volume, provenance={"perceptual": "clay"})
    load("measure_photo_to_3d.py")["main"](str(tmp_path / "volume.safetensors"), 1, 1)
    rows = capsys.readouterr().out.splitlines()
    assert [row[:4].strip() for row in rows] == ["1 w", "1 w+", "3 w", "3 w+"]
    for row in rows:
        projected, tuned = json.loads(row[4:])
        assert 5 < projected[0] <= tuned[0] + 0.01
        assert all(-1 <= values[3] <= 1 for values in (projected, tuned))
