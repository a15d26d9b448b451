"""Folders of photos: what is found, what fails, and going on after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ganedit.cli import project, projecting
from ganedit.cli.photos import list_photos
from ganedit.errors import GaneditError
from ganedit.io import load_latent, write_image


@pytest.fixture
def folder(tmp_path, generator):
    """Six pictures, one of them in a subfolder and one without suffix, a text and a broken one."""
    place = tmp_path / "photos"
    z = torch.randn(6, 16, generator=torch.Generator().manual_seed(9))
    images = generator.synthesize(generator.map(z)).clamp(-1, 1)
    for index, image in enumerate(images):
        write_image(place / f"p{index}.png", image[None])
    (place / "sub").mkdir()
    (place / "p4.png").rename(place / "sub" / "p0.png")
    (place / "p5.png").rename(place / "no suffix")
    (place / "notes.txt").write_text("no picture")
    (place / ".hidden.png").write_bytes(b"hidden")
    (place / "broken.jpg").write_bytes(b"no picture")
    return place


@pytest.fixture
def options(network_path):
    return ("--network", network_path, "--device", "cpu", "--steps", 3, "--loss", "pixel")


NAMES = ["no suffix", "p0", "p1", "p2", "p3", "sub/p0"]


def record():
    return json.loads(Path("out/run.json").read_text())


def test_a_folder_is_projected_and_what_failed_is_told(run, folder, options):
    result = run("project", folder, *options, "--batch", 4)
    assert result.exit_code == 1
    assert "1 of 7 photos failed" in result.stderr.splitlines()[-1]
    assert "broken.jpg" in result.stderr.splitlines()[-1]
    assert [one["name"] for one in record()["results"]] == NAMES
    (failed,) = record()["failed"]
    assert failed["name"] == "broken"
    for name in NAMES:
        assert load_latent(f"out/{name}.pt").names == (name,)
        assert Path(f"out/{name}-comparison.png").is_file()
    assert not [path for path in Path("out").iterdir() if path.name.startswith(".")]


def test_a_photo_of_too_long_a_name_fails_alone(run, fails, folder, options):
    (folder / "broken.jpg").rename(folder / f"{'x' * 250}.jpg")
    (folder / "p0.png").rename(folder / f"{'y' * 201}.png")
    result = run("project", folder, *options)
    assert result.exit_code == 1
    assert "2 of 7 photos failed" in result.stderr
    assert sum("its name is too long" in one["reason"] for one in record()["failed"]) == 2
    assert "its name is too long" in fails("project", folder / f"{'y' * 201}.png", *options)


def test_a_second_run_does_only_what_is_new(run, folder, options, generator):
    (folder / "broken.jpg").unlink()
    assert run("project", folder, *options).exit_code == 0
    before = {name: Path(f"out/{name}.pt").stat().st_mtime_ns for name in NAMES}
    write_image(folder / "p2.png", torch.zeros(1, 3, 16, 16))
    write_image(folder / "new.png", torch.zeros(1, 3, 16, 16))
    Path("out/p3-loss.png").unlink()
    again = run("project", folder, *options)
    assert again.exit_code == 0, again.output
    assert "4 of 7 photos are done already" in again.stderr
    changed = [n for n in NAMES if Path(f"out/{n}.pt").stat().st_mtime_ns != before[n]]
    assert changed == ["p2", "p3"]
    assert [one["name"] for one in record()["results"]] == ["new", *NAMES]
    more = run("project", folder, *options, "--space", "w")
    assert "done already" not in more.stderr
    assert load_latent("out/p0.pt").space == "w"


def test_results_of_other_settings_are_not_taken_as_done(run, folder, options, monkeypatch):
    for path in ("broken.jpg", "no suffix", "p2.png", "p3.png", "sub/p0.png"):
        (folder / path).unlink()
    real = projecting._write_batch

    def killed_at_the_second(work, batch, outcome):
        if batch.photos[0].name == "p1":
            raise KeyboardInterrupt
        return real(work, batch, outcome)

    for space in ("w+", "w"):
        with monkeypatch.context() as patch:
            patch.setattr(projecting, "_write_batch", killed_at_the_second)
            stopped = run("project", folder, *options, "--batch", 1, "--space", space)
        assert stopped.exit_code == 130
        assert load_latent("out/p0.pt").space == space
    again = run("project", folder, *options)
    assert again.exit_code == 0
    assert "done already" not in again.stderr
    assert [load_latent(f"out/{name}.pt").space for name in ("p0", "p1")] == ["w+", "w+"]


def test_landmarks_decide_by_their_content(tmp_path):
    path = tmp_path / "a.json"
    arguments = {"photos": ["a"], "align": str(path), "seed": 3}
    record = {"arguments": arguments, "generator": {"fingerprint": "f"}, "start": "mean"}
    path.write_text("one")
    first = project._decisive(record, None)
    assert project._decisive(record, None) == first
    path.write_text("two")
    assert project._decisive(record, None) != first
    arguments["align"] = None
    assert project._decisive(record, None) == {**first, "align": None, "align_sha256": None}


def test_a_table_of_photos_some_of_which_lack_figures(capsys):
    whole = {"name": "a", "photo": "a.jpg", "loss": "clay", "distance": 0.25, "lpips": None}
    whole |= {"identity": 0.5, "psnr": 20.0, "best_step": 3, "domain_gap": 0.5, "deviation": 1.0}
    whole |= {"seconds": 2.0}
    for results in (
        [whole, {**whole, "identity": None}],
        [{**whole, "identity": None}, whole],
        [whole, {key: value for key, value in whole.items() if key != "identity"}],
    ):
        project._report([*results, {**whole, "psnr": 26.0}])
        lines = capsys.readouterr().err.splitlines()
        assert "identity" in lines[1]
        assert "LPIPS" not in lines[1]
        assert next(line.split() for line in lines if "mean" in line) == [
            "mean",
            "0.25",
            "22",
            "1",
            "2",
        ]
    project._report([whole, {**whole, "identity": 0.7}])
    assert "mean    0.25            0.6" in capsys.readouterr().err


def test_neither_order_nor_batch_changes_a_result(run, folder, options):
    run("project", folder, *options, "--out", "a", "--batch", 1)
    run("project", folder, *options, "--out", "b", "--batch", 4)
    for path in sorted(folder.rglob("*.png"), reverse=True):
        path.rename(path.with_name(f"z{9 - int(path.stem[1:])}.png")) if path.stem[0] == "p" else 0
    run("project", folder, *options, "--out", "c", "--batch", 3)
    for name, other in [("p0", "z9"), ("p3", "z6"), ("sub/p0", "sub/z9")]:
        first, second, third = (
            load_latent(path).ws for path in (f"a/{name}.pt", f"b/{name}.pt", f"c/{other}.pt")
        )
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(first, third, rtol=1e-3, atol=1e-3)


def test_photos_of_one_stem_keep_their_suffixes(run, folder, options):
    for path in ("broken.jpg", "p0.png", "no suffix"):
        (folder / path).unlink()
    write_image(folder / "p1.jpg", torch.zeros(1, 3, 16, 16))
    assert run("project", folder, *options).exit_code == 0
    names = [one["name"] for one in record()["results"]]
    assert names == ["p1.jpg", "p1.png", "p2", "p3", "sub/p0"]


def listed(tmp_path, files, sources, suffixes=(".pt", ".png", "-target.png")):
    """The photos that are found where there are these files: their paths and names."""
    for file in files:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"looks like nothing")
    found, _ = list_photos([str(tmp_path / s) for s in sources], tmp_path / "o", suffixes=suffixes)
    return {Path(one.path).relative_to(tmp_path).as_posix(): one.name for one in found}


@pytest.mark.parametrize(
    ("files", "sources", "names"),
    [
        ("A/x.jpg B/y.jpg", "A B", "x y"),
        ("A/x.jpg A/y.jpg B/x.jpg", "A B", "A/x y B/x"),
        ("A/x.jpg A/x.png B/X.jpg", "A B", "A/x.jpg A/x.png B/X"),
        ("A/x.jpg x.png", "A x.png", "A/x {tmp}/x"),
        ("A/x.jpg A/y.jpg", "A A/x.jpg", "x y"),
        ("A/x.jpg B/A/x.jpg B/x.jpg", "A B", "A/x.jpg B/A/x B/x"),
        ("A/a.jpg A/a.jpg.png A/a.png", "A", "a.jpg a.jpg.png a.png"),
        ("A/a-target.jpg A/a.jpg", "A", "a-target.jpg a.jpg"),
        ("A/A.jpg A/a.jpeg", "A", "A.jpg a.jpeg"),
    ],
)
def test_no_two_photos_share_a_name(tmp_path, files, sources, names):
    found = listed(tmp_path, files.split(), sources.split())
    expected = names.replace("{tmp}", tmp_path.name).split()
    assert found == dict(zip(files.split(), expected, strict=True))


def test_photos_that_must_share_a_name_are_an_error(tmp_path):
    with pytest.raises(GaneditError, match=r"x\.jpg and .*x\.jpg: both would be .*/A/x\.jpg\.pt"):
        listed(tmp_path, ["1/A/x.jpg", "2/A/x.jpg"], ["1/A", "2/A"])


def test_results_inside_the_folder_are_no_photos(run, folder, options):
    (folder / "broken.jpg").unlink()
    for _ in range(2):
        assert run("project", folder, *options, "--out", folder / "out").exit_code == 0
    assert len(json.loads((folder / "out" / "run.json").read_text())["results"]) == 6


@pytest.mark.parametrize("above", [False, True])
def test_results_among_the_photos_are_no_photos(run, folder, options, above):
    (folder / "broken.jpg").unlink()
    for path in folder.glob("p*.png"):  # of p0.png, the result p0.png would take the place
        path.rename(path.with_suffix(".bmp"))
    (folder / "sub" / "p0.png").rename(folder / "sub" / "p0.bmp")
    out = folder.parent if above else folder
    for noted in ("", "6 of 6 photos are done already"):
        result = run("project", folder, *options, "--out", out)
        assert result.exit_code == 0, result.output
        assert noted in result.stderr
        results = json.loads((out / "run.json").read_text())["results"]
        assert [one["name"] for one in results] == NAMES


def test_no_photo_of_a_folder_is_replaced_by_results(fails, folder, options):
    content = (folder / "p0.png").read_bytes()
    message = fails("project", folder, *options, "--out", folder, "--overwrite")
    assert "p0.png: is one of the photos" in message
    assert (folder / "p0.png").read_bytes() == content


def test_a_file_of_others_stops_before_any_work(fails, folder, options):
    Path("out").mkdir()
    Path("out/p1.png").write_text("mine")
    assert "out/p1.png: not written by ganedit" in fails("project", folder, *options)
    assert [path.name for path in Path("out").iterdir()] == ["p1.png"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_killed_twice_and_started_again_each_photo_is_done_once(
    tmp_path, folder, network_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "ganedit", "project", str(folder), "--network"]
    command += [str(network_path), "--device", "cpu", "--loss", "pixel", "--batch", "1"]
    command += ["--steps", "60"]
    state = Path("out/.ganedit-done")
    seen = []
    for wanted in (1, 3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if state.exists() and len(state.read_text().splitlines()) >= wanted:
                break
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        seen.append([json.loads(line)["name"] for line in state.read_text().splitlines()])
    kept = {name: Path(f"out/{name}.pt").stat().st_mtime_ns for name in seen[-1]}
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 1, last.stderr
    assert "1 of 7 photos failed" in last.stderr
    assert f"{len(kept)} of 7 photos are done already" in last.stderr
    assert seen[0] == seen[1][: len(seen[0])]
    assert len(set(seen[1])) == len(seen[1])
    assert [one["name"] for one in record()["results"]] == NAMES
    assert {name: Path(f"out/{name}.pt").stat().st_mtime_ns for name in kept} == kept
