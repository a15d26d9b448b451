import json
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from ganedit.data.clayheads import FACTORS, read_truth, render, sample_factors
from ganedit.data.dataset import ImageDataset
from ganedit.io import decode_image

SMALL = ("--count", "3", "--resolution", "16")


def contents(path: str | Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_clay_archives_have_nvlabs_layout(run):
    result = run("dataset", "clay", *SMALL, "--seed", "5", "--out", "a.zip")
    assert result.exit_code == 0, result.output
    assert result.stdout == "a.zip\n"
    files = contents("a.zip")
    names = [f"00000/img{index:08d}.png" for index in range(3)]
    assert list(files) == [*names, "dataset.json", "factors.json", "captions.json"]
    heads = render(sample_factors([5, 6, 7]), resolution=16)
    for index, name in enumerate(names):
        image = decode_image(files[name], name=name)
        assert (image - heads.image[index]).abs().max() <= 1 / 127
    labels = json.loads(files["dataset.json"])["labels"]
    assert [name for name, _ in labels] == names
    torch.testing.assert_close(torch.tensor([numbers for _, numbers in labels]), heads.camera)
    factors = json.loads(files["factors.json"])
    assert factors["names"] == [factor.name for factor in FACTORS]
    torch.testing.assert_close(torch.tensor(factors["factors"]), heads.factors)
    assert json.loads(files["captions.json"])["captions"] == heads.captions


def test_the_same_command_writes_the_same_bytes(run):
    for name in ("a.zip", "b.zip", "a.zip"):
        assert run("dataset", "clay", *SMALL, "--out", name).exit_code == 0
    assert Path("a.zip").read_bytes() == Path("b.zip").read_bytes()


def test_seeds_follow_one_another(run):
    run("dataset", "clay", "--count", "1", "--seed", "7", "--resolution", "16", "--out", "a.zip")
    run("dataset", "clay", "--count", "3", "--seed", "5", "--resolution", "16", "--out", "b.zip")
    one, many = contents("a.zip"), contents("b.zip")
    assert one["00000/img00000000.png"] == many["00000/img00000002.png"]


def test_emoji_heads_differ_from_clay_heads(run):
    for style in ("clay", "emoji"):
        run("dataset", "clay", *SMALL, "--style", style, "--out", f"{style}.zip")
    name = "00000/img00000000.png"
    assert contents("clay.zip")[name] != contents("emoji.zip")[name]
    assert [read_truth(f"{style}.zip").style for style in ("clay", "emoji")] == ["clay", "emoji"]


def pictures(folder: Path) -> None:
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (40, 20), "red").save(folder / "a.png")
    Image.new("L", (9, 30), 128).save(folder / "deep" / "b.jpg")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "empty.webp").touch()
    (folder / "notes.txt").write_text("ignored")
    (folder / ".hidden.png").write_bytes(b"ignored")


def test_a_folder_becomes_an_archive_and_bad_files_are_listed(run):
    pictures(Path("mine"))
    result = run("dataset", "folder", "mine", "--resolution", "8", "--out", "a.zip")
    assert result.exit_code == 0, result.output
    assert result.stdout == "a.zip\n"
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning")]
    assert len(warnings) == 2
    assert "broken.png: not a picture" in warnings[0]
    assert "empty.webp: the file is empty" in warnings[1]
    files = contents("a.zip")
    assert list(files) == ["00000/img00000000.png", "00000/img00000001.png", "dataset.json"]
    assert json.loads(files["dataset.json"]) == {"labels": None}
    image = decode_image(files["00000/img00000000.png"], name="a")
    assert image.shape == (1, 3, 8, 8)
    assert image[0, :, 0, 0].tolist() == [1, -1, -1]


def test_a_zip_becomes_an_archive_and_keeps_its_labels(run):
    Image.new("RGB", (20, 20), "red").save("a.png")
    with zipfile.ZipFile("mine.zip", "w") as archive:
        archive.write("a.png", "x/a.png")
        archive.writestr("x/b.png", b"broken")
        archive.writestr("dataset.json", json.dumps({"labels": [["x/a.png", 3], ["x/b.png", 4]]}))
    result = run("dataset", "folder", "mine.zip", "--resolution", "8", "--out", "a.zip")
    assert result.exit_code == 0, result.output
    labels = json.loads(contents("a.zip")["dataset.json"])["labels"]
    assert labels == [["00000/img00000000.png", 3]]
    assert ImageDataset("a.zip").labels.tolist() == [[0, 0, 0, 1]]


def test_labels_that_some_pictures_lack_are_left_out_with_a_warning(run):
    pictures(Path("mine"))
    Path("mine/dataset.json").write_text(json.dumps({"labels": [["a.png", 3]]}))
    result = run("dataset", "folder", "mine", "--resolution", "8", "--out", "a.zip")
    assert result.exit_code == 0, result.output
    assert "warning: 1 of 2 pictures have no label" in result.stderr
    assert json.loads(contents("a.zip")["dataset.json"]) == {"labels": None}


# Bad input


def test_an_archive_is_not_made_from_itself(run, fails):
    run("dataset", "clay", *SMALL, "--out", "a.zip")
    before = Path("a.zip").read_bytes()
    line = fails("dataset", "folder", "a.zip", "--resolution", "8", "--out", "./a.zip")
    assert "is the source itself" in line
    assert Path("a.zip").read_bytes() == before


def test_a_folder_without_one_good_picture_fails(run):
    Path("mine").mkdir()
    Path("mine/a.png").write_bytes(b"broken")
    result = run("dataset", "folder", "mine", "--out", "a.zip")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("error: a.zip: no pictures")
    assert not Path("a.zip").exists()


def test_senseless_sources_are_one_line(fails):
    Path("empty").mkdir()
    Path("file.zip").write_text("no zip")
    assert "no picture files" in fails("dataset", "folder", "empty", "--out", "a.zip")
    assert "neither a folder" in fails("dataset", "folder", "file.zip", "--out", "a.zip")
    assert "no such" in fails("dataset", "folder", "absent", "--out", "a.zip")
    assert not Path("a.zip").exists()


def test_a_broken_dataset_json_is_one_line(fails):
    pictures(Path("mine"))
    Path("mine/dataset.json").write_text('{"labels": [1, 2]}')
    assert "dataset.json must hold" in fails("dataset", "folder", "mine", "--out", "a.zip")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--count", "0"),
        ("--resolution", "0"),
        ("--resolution", "66"),
        ("--style", "oil"),
        ("--seed", "-1"),
    ],
)
def test_senseless_numbers_are_usage_errors(fails, arguments):
    line = fails("dataset", "clay", *arguments, "--out", "a.zip", code=2)
    assert arguments[0] in line


def test_a_foreign_file_is_kept_unless_overwrite_is_given(run, fails):
    Path("a.zip").write_text("mine")
    assert "not written by ganedit" in fails("dataset", "clay", *SMALL, "--out", "a.zip")
    assert Path("a.zip").read_text() == "mine"
    assert run("dataset", "clay", *SMALL, "--out", "a.zip", "--overwrite").exit_code == 0


def test_names_that_cannot_be_written_are_one_line(fails):
    Path("folder.zip").mkdir()
    Path("file").touch()
    assert "must end in .zip" in fails("dataset", "clay", *SMALL, "--out", "a.tar")
    assert "is a folder" in fails("dataset", "clay", *SMALL, "--out", "folder.zip")
    assert "file" in fails("dataset", "clay", *SMALL, "--out", "file/a.zip")
