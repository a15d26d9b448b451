import json

from ganedit.checkpoints import load_network


def test_clay_goes_to_rosinalitys_layout_and_back(run):
    first = run("convert", "clay", "clay.pt")
    assert first.exit_code == 0, first.stderr
    assert first.stdout == "clay.pt\n"
    assert "largest difference of the pictures: 0" in first.stderr
    assert "warning: clay.pt: " in first.stderr  # its channel counts are not those of rosinality
    second = run("convert", "clay.pt", "clay.safetensors", "--json")
    assert json.loads(second.stdout)["image_difference"] == 0
    marks = {load_network(n, device="cpu").fingerprint for n in ("clay", "clay.safetensors")}
    assert len(marks) == 1


def test_files_are_not_replaced_unasked(run, fails, network_path, tmp_path):
    target = tmp_path / "a.safetensors"
    target.write_text("mine")
    assert "exists; choose another name" in fails("convert", network_path, target)
    assert target.read_text() == "mine"
    assert run("convert", network_path, target, "--overwrite").exit_code == 0
    assert "is the file to convert" in fails("convert", target, target, "--overwrite")


def test_other_suffixes_are_bad_usage(fails, network_path):
    assert "must end in .safetensors or .pt" in fails("convert", network_path, "a.onnx", code=2)
