import argparse
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ganedit.errors import GaneditError
from ganedit.io import Latent, foreign_latents, save_latent
from ganedit.io.foreign_latents import ForeignLatent, read_foreign_latent, read_latent
from tests.io.hostile import many_members

NUM_WS, W_DIM = 6, 16
WS = torch.randn(2, NUM_WS, W_DIM, generator=torch.Generator().manual_seed(0))
SHAPES = ((4, 4), (8, 8))


def bound(foreign: ForeignLatent, **changes: object) -> Latent:
    facts = {
        "name": "latent.npy",
        "fingerprint": "sha256:abc",
        "num_ws": NUM_WS,
        "w_dim": W_DIM,
        "network": "clay",
        "noise_shapes": SHAPES,
    }
    return foreign.bind(**(facts | changes))


def torch_file(value: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def rosinality(latents: list[torch.Tensor], maps: bool = True) -> dict[str, object]:
    return {
        f"photos/face{index}.jpg": {
            "img": torch.zeros(3, 8, 8),
            "latent": latent,
            "noise": [torch.full((1, 1, *shape), float(index)) for shape in SHAPES]
            if maps
            else None,
        }
        for index, latent in enumerate(latents)
    }


NUMBERS = WS.numpy()
READABLE = {
    "NVlabs .npz": npz(w=NUMBERS),
    "compressed .npz": npz(True, w=NUMBERS),
    ".npz with one array": npz(arr_0=NUMBERS),
    ".npz with others": npz(seeds=np.zeros(2), ws=NUMBERS),
    ".npy": npy(NUMBERS),
    ".npy of columns": npy(np.asfortranarray(NUMBERS)),
    ".npy of another byte order": npy(NUMBERS.astype(">f8")),
    "e4e": torch_file(WS),
    "legacy tensor": torch_file(WS, legacy=True),
    "parameter": torch_file(torch.nn.Parameter(WS)),
    "view": torch_file(torch.cat([WS, WS]).double()[:2]),
    "dict": torch_file({"latent": WS, "opts": argparse.Namespace(size=16)}),
    "dict with one tensor": torch_file({"anything": WS, "steps": 3}),
    "list": torch_file([WS[0], WS[1]]),
    "list of batches": torch_file([WS[:1], WS[1:]]),
    "dict of lists": torch_file({"latents": [WS[0], WS[1]]}),
    "pickled array": pickle.dumps(NUMBERS),
    "pickled dict of arrays": pickle.dumps({"w": NUMBERS}),
    "rosinality": torch_file(rosinality(list(WS))),
    "tensors by name": torch_file({"ann.png": WS[0], "bo.png": WS[1]}),
}


@pytest.mark.parametrize("case", READABLE)
def test_two_latents_are_read_from_every_kind_of_file(tmp_path, case):
    path = tmp_path / "misleading.txt"
    path.write_bytes(READABLE[case])
    foreign = read_foreign_latent(path)
    assert foreign.reading(NUM_WS) == "2 latents, a vector for each of 6 layers"
    latent = bound(foreign)
    assert latent.space == "w+"
    assert torch.equal(latent.ws, WS)
    assert (latent.fingerprint, latent.network) == ("sha256:abc", "clay")
    both = read_latent(path)
    assert isinstance(both, ForeignLatent)
    assert torch.equal(both.ws, foreign.ws)


def test_rosinality_brings_names_and_noise_maps(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(torch_file(rosinality(list(WS[:, 0]))))
    latent = bound(read_foreign_latent(path))
    assert latent.names == ("face0", "face1")
    assert latent.space == "w"
    assert torch.equal(latent.ws, WS[:, :1].expand(-1, NUM_WS, -1))
    assert [m.shape for m in latent.noise] == [(2, 1, *shape) for shape in SHAPES]
    assert latent.noise[1][1].eq(1).all()
    with pytest.raises(GaneditError, match="its noise maps do not fit clay"):
        bound(read_foreign_latent(path), noise_shapes=())
    path.write_bytes(torch_file(rosinality(list(WS), maps=False)))
    assert bound(read_foreign_latent(path)).noise is None


@pytest.mark.parametrize(
    ("shape", "expected", "space", "words"),
    [
        ((W_DIM,), 1, "w", "1 latent, one vector for all layers"),
        ((1, W_DIM), 1, "w", "1 latent, one vector for all layers"),
        ((3, W_DIM), 3, "w", "3 latents, one vector for all layers"),
        ((NUM_WS, W_DIM), 1, "w+", "1 latent, a vector for each of 6 layers"),
        ((NUM_WS, 1, W_DIM), NUM_WS, "w", "6 latents, one vector for all layers"),
        ((1, NUM_WS, W_DIM), 1, "w+", "1 latent, a vector for each of 6 layers"),
    ],
)
def test_w_is_broadcast_to_all_layers(tmp_path, shape, expected, space, words):
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    (tmp_path / "a.pt").write_bytes(torch_file(numbers))
    foreign = read_foreign_latent(tmp_path / "a.pt")
    latent = bound(foreign)
    assert (tuple(latent.ws.shape), latent.space) == ((expected, NUM_WS, W_DIM), space)
    assert foreign.reading(NUM_WS) == words
    if space == "w":
        assert torch.equal(latent.ws[:, 0], numbers.reshape(-1, W_DIM))
    else:
        assert torch.equal(latent.ws[0], numbers.reshape(-1, W_DIM))


def test_equal_layers_are_one_vector(tmp_path):
    (tmp_path / "a.npz").write_bytes(npz(w=NUMBERS[:, :1].repeat(NUM_WS, axis=1)))
    assert bound(read_foreign_latent(tmp_path / "a.npz")).space == "w"


def test_another_shape_is_refused_with_both(tmp_path):
    for shape, got in (((18, 512), "18"), ((1, 18, 512), "18"), ((512,), "1")):
        (tmp_path / "a.npy").write_bytes(npy(np.ones(shape, np.float32)))
        foreign = read_foreign_latent(tmp_path / "a.npy")
        line = rf"latent.npy: {got} vectors? of 512, but clay takes 6 of 16; name another"
        with pytest.raises(GaneditError, match=line):
            bound(foreign)


def test_too_many_vectors_are_refused_before_they_are_copied(tmp_path, monkeypatch):
    (tmp_path / "a.npy").write_bytes(npy(np.ones((5000, W_DIM), np.float32)))
    foreign = read_foreign_latent(tmp_path / "a.npy")
    monkeypatch.setattr("ganedit.io.latents.MAX_BYTES", 2**20)
    with pytest.raises(GaneditError, match="too large for a latent file"):
        bound(foreign)


def test_our_own_latents_are_read_as_such(tmp_path):
    latent = Latent(WS, "w+", "sha256:abc", "clay", names=("ann", "bo"))
    save_latent(tmp_path / "a.pt", latent)
    own = read_latent(tmp_path / "a.pt")
    assert isinstance(own, Latent)
    assert own.names == ("ann", "bo")


# Bad input


class Evil:
    def __reduce__(self):
        return os.mkdir, ("trap",)


def header(shape: object, descr: object = "<f4", *, size: int = 64, version: int = 1) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}}}".encode()
    width = 2 if version == 1 else 4
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + len(text).to_bytes(width, "little")
        + text
        + b"0" * size
    )


def zipped(content: bytes, name: str = "w.npy") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def nan(value: float) -> torch.Tensor:
    return torch.full((1, NUM_WS, W_DIM), value)


def flipped(content: bytes) -> bytes:
    spot = content.find(NUMBERS.tobytes()) + 5
    return content[:spot] + bytes([content[spot] ^ 1]) + content[spot + 1 :]


BAD = {
    "empty": (b"", "empty"),
    "text": (b"hello", "not a latent"),
    "objects": (npy(np.array([{"a": 1}], dtype=object)), "it pickles Python objects"),
    "objects in .npz": (npz(w=np.array([Evil()], dtype=object)), "it pickles Python objects"),
    "integers": (npy(np.ones((3, 16), np.int32)), "expected an array of floating point"),
    "text array": (npy(np.array(["a"])), "expected an array of floating point"),
    "records": (npy(np.zeros(3, "f4,f4")), "expected an array of floating point"),
    "nan": (npy(np.full((1, 6, 16), np.nan)), "NaN"),
    "too large a number": (npy(np.full((1, 6, 16), 1e300)), "infinite"),
    "no dimensions": (npy(np.float32(3)), r"expected latents, \[N, L, w_dim\]"),
    "four dimensions": (npy(np.zeros((1, 1, 6, 16))), r"got \[1, 1, 6, 16\]"),
    "no rows": (npy(np.zeros((0, 16))), "expected latents"),
    "truncated .npy": (npy(NUMBERS)[:-1], "broken or incomplete"),
    "a .npy with more": (npy(NUMBERS) + b"more", "broken or incomplete"),
    "only a start": (b"\x93NUMPY\x01\x00", "broken or incomplete"),
    "huge shape": (header((2**40, 2**40)), "broken or incomplete"),
    "negative shape": (header((-4, -4)), "broken or incomplete"),
    "shape of text": (header("ab"), "broken or incomplete"),
    "nested header": (header("(" * 5000), "broken or incomplete"),
    "deep header": (b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"[" * 9000, "broken"),
    "header of 4 GB": (b"\x93NUMPY\x02\x00" + b"\xff" * 200, "broken or incomplete"),
    "bad type": (header((4, 4), "<f99"), "expected an array of floating point"),
    "version 3": (header((4, 4), size=9, version=3), "broken or incomplete"),
    "npz bomb": (zipped(bytes(2**27)), "unpacks to 128 MB"),
    "npz of text": (zipped(b"hello"), "broken or incomplete"),
    "flipped bit in .npz": (flipped(npz(w=NUMBERS)), "w.npy fails its checksum"),
    "flipped bit in .pt": (flipped(torch_file(WS)), "checksum"),
    "npz of 100,000 members": (many_members(100_000), "zip archive of 100000 members"),
    "truncated .npz": (npz(w=NUMBERS)[:-30], "broken"),
    "many arrays": (npz(a=NUMBERS, b=NUMBERS), "which of its arrays holds the latents"),
    "pickled call": (pickle.dumps({"w": Evil()}), "mkdir"),
    "torch call": (torch_file({"w": WS, "x": Evil()}), "mkdir"),
    "no tensors": (torch_file({"a": 1}), "not latents; known are"),
    "a number": (torch_file(3), "not latents; known are"),
    "nothing": (torch_file([]), "not latents; known are"),
    "integer tensor": (torch_file(torch.ones(3, 16, dtype=torch.int64)), "floating point"),
    "nan tensor": (torch_file(nan(torch.nan)), "NaN"),
    "infinite noise": (
        torch_file({"a.png": {"latent": WS[0], "noise": [nan(torch.inf)[:, :1]]}}),
        "NaN or infinite",
    ),
    "rows of two shapes": (torch_file([WS[0], WS[0, 0]]), "latents of one shape"),
    "noise for one of two": (
        torch_file({"a": {"latent": WS[0], "noise": [WS[0]]}, "b": {"latent": WS[0]}}),
        "a list of tensors for each picture",
    ),
    "noise of channels": (
        torch_file({"a": {"latent": WS[0], "noise": [torch.zeros(1, 3, 4, 4)]}}),
        "one channel",
    ),
    "latent of text": (torch_file({"a": {"latent": "x"}}), "not latents"),
    "views": (
        torch_file([torch.zeros(1).expand(2**14, 512)] * 100),
        "too large|refused.*its tensors",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_line_and_run_nothing(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    content, reason = BAD[case]
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    for read in (read_foreign_latent, read_latent):
        with pytest.raises(GaneditError, match=reason) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    assert not Path("trap").exists()


def test_missing_files_and_too_large_ones_are_one_line(tmp_path, monkeypatch):
    for path, reason in ((tmp_path / "absent.npy", "no such file"), (tmp_path, "folder")):
        with pytest.raises(GaneditError, match=reason):
            read_foreign_latent(path)
    monkeypatch.setattr(foreign_latents, "MAX_BYTES", 100)
    for content in READABLE.values():
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(GaneditError, match=r"too large|too much"):
            read_foreign_latent(tmp_path / "a")


@pytest.mark.parametrize("name", ["NVlabs .npz", ".npy", "e4e", "rosinality"])
def test_any_truncation_is_one_line(tmp_path, name):
    content = READABLE[name]
    path = tmp_path / "a"
    for end in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:end])
        with pytest.raises(GaneditError) as caught:
            read_latent(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("empty", [torch.zeros(10, 0), torch.zeros(0, 64), torch.zeros(0)])
def test_rows_without_numbers_are_one_line(tmp_path, empty):
    path = tmp_path / "rows.pt"
    torch.save([empty], path)
    with pytest.raises(GaneditError, match="expected latents") as error:
        read_latent(path)
    assert "\n" not in str(error.value)
