import io
import json
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from ganedit.data.dataset import ImageDataset
from ganedit.errors import GaneditError


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def random_pixels(seed, side=16):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def files():
    return {f"00000/img{i:08d}.png": png(random_pixels(i)) for i in range(4)}


def test_a_zip_and_its_folder_hold_the_same_pictures(tmp_path, files):
    write_zip(tmp_path / "data.zip", files)
    for name, content in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    zipped, folder = ImageDataset(tmp_path / "data.zip"), ImageDataset(tmp_path / "folder")
    assert len(zipped) == len(folder) == 4
    assert zipped.resolution == 16
    assert zipped.labels is None
    assert torch.equal(zipped.batch(range(4)), folder.batch(range(4)))


def test_pixels_arrive_unchanged_in_minus_one_to_one(tmp_path, files):
    data = ImageDataset(write_zip(tmp_path / "data.zip", files))
    batch = data.batch(torch.tensor([2, 0]))
    assert batch.dtype == torch.float32
    for row, seed in zip(batch, (2, 0), strict=True):
        expected = torch.from_numpy(random_pixels(seed)).permute(2, 0, 1).float() / 127.5 - 1
        torch.testing.assert_close(row, expected)


def test_mirror_flips_only_the_chosen_pictures_and_not_the_cache(tmp_path, files):
    data = ImageDataset(write_zip(tmp_path / "data.zip", files))
    plain = data.batch([0, 1])
    mirrored = data.batch([0, 1], torch.tensor([False, True]))
    assert torch.equal(mirrored[0], plain[0])
    assert torch.equal(mirrored[1], plain[1].flip(2))
    assert torch.equal(data.batch([0, 1]), plain)


def test_labels_follow_the_names_not_the_order(tmp_path, files):
    names = sorted(files)
    cameras = [[name, [float(i)] * 25] for i, name in enumerate(names)]
    files["dataset.json"] = json.dumps({"labels": cameras[::-1]})
    labels = ImageDataset(write_zip(tmp_path / "data.zip", files)).labels
    assert labels.shape == (4, 25)
    assert labels[:, 0].tolist() == [0, 1, 2, 3]


def test_class_numbers_become_one_hot(tmp_path, files):
    labels = list(zip(sorted(files), [2, 0, 1, 2], strict=True))
    files["dataset.json"] = json.dumps({"labels": labels})
    got = ImageDataset(write_zip(tmp_path / "data.zip", files)).labels
    assert got.argmax(1).tolist() == [2, 0, 1, 2]
    assert got.sum(1).tolist() == [1, 1, 1, 1]


def test_a_dataset_json_without_labels_and_shadow_files_are_fine(tmp_path, files):
    files["dataset.json"] = json.dumps({"labels": None})
    files["__MACOSX/00000/._img00000000.png"] = b"not a picture"
    files["notes.txt"] = b"hello"
    data = ImageDataset(write_zip(tmp_path / "data.zip", files))
    assert (len(data), data.labels) == (4, None)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("{", "not valid JSON"),
        (json.dumps({"labels": [["other.png", 1]]}), "no label for"),
        (json.dumps({"labels": 3}), "must hold"),
        (json.dumps({"labels": [["00000/img00000000.png"]]}), "must hold"),
        (json.dumps({"labels": [[f"00000/img{i:08d}.png", [1.0] * i] for i in range(4)]}), "must"),
        (json.dumps({"labels": [[f"00000/img{i:08d}.png", -1] for i in range(4)]}), "class"),
        (json.dumps({"labels": [[f"00000/img{i:08d}.png", 0.5] for i in range(4)]}), "class"),
        (json.dumps({"labels": [[f"00000/img{i:08d}.png", True] for i in range(4)]}), "class"),
        (json.dumps([1, 2]), "must hold"),
        (
            json.dumps({"labels": [[f"00000/img{i:08d}.png", [1e999]] for i in range(4)]}),
            "not finite",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, files, labels, message):
    files["dataset.json"] = labels
    with pytest.raises(GaneditError, match=message):
        ImageDataset(write_zip(tmp_path / "data.zip", files))


def test_pictures_of_two_sizes_or_not_square_are_refused(tmp_path, files):
    mixed = files | {"zz.png": png(random_pixels(9, side=8))}
    with pytest.raises(GaneditError, match=r"8x8, but .* is 16x16"):
        ImageDataset(write_zip(tmp_path / "mixed.zip", mixed))
    oblong = {"a.png": png(random_pixels(0)[:8])}
    with pytest.raises(GaneditError, match="16x8, not square"):
        ImageDataset(write_zip(tmp_path / "oblong.zip", oblong))


def test_a_zip_bomb_is_refused_from_its_declared_size(tmp_path, monkeypatch):
    monkeypatch.setattr("ganedit.data.dataset.MAX_PICTURE_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(5 * 2**20))
    assert (tmp_path / "bomb.zip").stat().st_size < 2**14
    with pytest.raises(GaneditError, match="unpacks to 5 MiB, more than 1; not read"):
        ImageDataset(tmp_path / "bomb.zip")


def test_a_picture_with_a_huge_header_is_refused_before_decoding(tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    forged = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    forged += struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT"
    with pytest.raises(GaneditError, match="megapixels"):
        ImageDataset(write_zip(tmp_path / "huge.zip", {"a.png": forged}))


def test_damaged_and_missing_sources_are_one_line_errors(tmp_path, files):
    whole = write_zip(tmp_path / "whole.zip", files).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-40])
    (tmp_path / "text.zip").write_text("hello")
    (tmp_path / "flipped.zip").write_bytes(whole[:200] + b"XXXX" + whole[204:])
    (tmp_path / "empty").mkdir()
    write_zip(tmp_path / "none.zip", {"notes.txt": b""})
    write_zip(tmp_path / "broken.zip", {"a.png": png(random_pixels(0))[:50]})
    names = ("cut.zip", "text.zip", "flipped.zip", "empty", "none.zip", "broken.zip", "missing")
    for name in names:
        with pytest.raises(GaneditError) as caught:
            ImageDataset(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
