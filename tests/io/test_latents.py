import io
import math
import os
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from ganedit.errors import GaneditError
from ganedit.io import (
    Alignment,
    Latent,
    check_file_size,
    check_latent,
    latents,
    load_latent,
    save_latent,
)

CORNERS = ((1.5, 2.0), (1.0, 40.5), (39.0, 41.0), (40.0, -3.0))


@pytest.fixture
def latent() -> Latent:
    return Latent(
        ws=torch.randn(2, 6, 16),
        space="w+",
        fingerprint="sha256:abc",
        network="clay",
        noise=(torch.randn(2, 1, 4, 4), torch.randn(1, 1, 8, 8)),
        names=("ann", "bo"),
        tuning="ann_tuning.safetensors",
        alignment=(Alignment("a b.jpg", (64, 48), CORNERS), Alignment("c.png", (9, 8), CORNERS)),
        offsets=(torch.randn(2, 5), torch.randn(1, 3)),
        cameras=torch.randn(2, 25),
    )


def stored(latent: Latent, **changes: object) -> bytes:
    content = {
        "format": "ganedit-latent",
        "version": 1,
        "ws": latent.ws,
        "space": latent.space,
        "generator": {"fingerprint": latent.fingerprint, "network": latent.network},
        "noise": None,
        "names": list(latent.names),
    } | changes
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_a_latent_survives_the_round_trip_to_the_bit(tmp_path, latent):
    save_latent(tmp_path / "a.pt", latent)
    loaded = load_latent(tmp_path / "a.pt")
    assert torch.equal(loaded.ws, latent.ws)
    for found, given in ((loaded.noise, latent.noise), (loaded.offsets, latent.offsets)):
        assert all(torch.equal(a, b) for a, b in zip(found, given, strict=True))
    assert torch.equal(loaded.cameras, latent.cameras)
    same = {name: getattr(latent, name) for name in ("ws", "noise", "offsets", "cameras")}
    assert replace(loaded, **same) == latent


def test_a_row_is_saved_without_its_neighbours(tmp_path, latent):
    many = torch.randn(2, 6, 16).repeat(500, 1, 1)
    plain = replace(latent, noise=None, offsets=None, cameras=None, names=(), alignment=())
    big = replace(plain, ws=many)
    save_latent(tmp_path / "a.pt", big.row(3))
    assert (tmp_path / "a.pt").stat().st_size < 5000


def test_the_file_is_the_documented_dict(tmp_path, latent):
    save_latent(tmp_path / "a.pt", latent)
    content = torch.load(tmp_path / "a.pt", weights_only=True)  # noqa: TID251 - checks the format
    always = {"format", "version", "ws", "space", "generator", "noise", "names"}
    assert set(content) == always | {"tuning", "alignment", "offsets", "cameras"}
    assert content["alignment"][1]["quad"] == [list(corner) for corner in CORNERS]
    assert content["generator"] == {"fingerprint": "sha256:abc", "network": "clay"}
    assert content["version"] == 3
    for lacking, version in (({"cameras": None}, 2), ({"cameras": None, "offsets": None}, 1)):
        save_latent(tmp_path / "a.pt", replace(latent, **lacking))
        content = torch.load(tmp_path / "a.pt", weights_only=True)  # noqa: TID251 - the format
        assert content["version"] == version


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True, None])
def test_a_malicious_pickle_is_refused_and_never_run(tmp_path, latent, legacy):
    trap = tmp_path / "trap"
    path = tmp_path / "evil.pt"
    if legacy is None:
        path.write_bytes(pickle.dumps(Evil(trap)))
    else:
        torch.save(
            {"format": "ganedit-latent", "ws": Evil(trap)},
            path,
            _use_new_zipfile_serialization=not legacy,
        )
    with pytest.raises(GaneditError, match=r"nothing .*was run") as caught:
        load_latent(path)
    assert not trap.exists()
    assert "\n" not in str(caught.value)
    if legacy is False:
        assert "mkdir" in str(caught.value)


def bad_cases(latent: Latent) -> dict[str, tuple[bytes, str]]:
    nan = latent.ws.clone()
    nan[0, 0, 0] = float("nan")
    good = stored(latent)
    spot = good.find(latent.ws.numpy().tobytes())
    flipped = good[:spot] + bytes([good[spot] ^ 1]) + good[spot + 1 :]
    tensor_only = io.BytesIO()
    torch.save(latent.ws, tensor_only)
    other_zip = io.BytesIO()
    with zipfile.ZipFile(other_zip, "w") as archive:
        archive.writestr("a.txt", "hello")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100 * 2**20))
    npz = io.BytesIO()
    np.savez(npz, w=latent.ws.numpy())
    big = torch.zeros(1, 1, 32, 32)
    wide = torch.zeros(1).expand(10**5, 10**5, 16)

    def aligned(**changes: object) -> bytes:
        entry = {"photo": "a.png", "size": [9, 8], "quad": [list(xy) for xy in CORNERS]} | changes
        return stored(latent, alignment=[entry, entry])

    return {
        "empty": (b"", "empty"),
        "text": (b"hello", "not a latent"),
        "truncated": (good[: len(good) // 2], "broken"),
        "flipped bit": (flipped, "checksum"),
        "tensor": (tensor_only.getvalue(), "not a latent that ganedit wrote"),
        "other zip": (other_zip.getvalue(), "zip archive"),
        "npz": (npz.getvalue(), "a numpy archive"),
        "zip bomb": (bomb.getvalue(), "unpacks to 100 MB"),
        "stride bomb": (stored(latent, ws=wide), "refused.*its tensors"),
        "nan": (stored(latent, ws=nan), "NaN"),
        "infinite noise": (stored(latent, noise=[torch.full((1, 1, 4, 4), torch.inf)]), "NaN"),
        "no ws": (stored(latent, ws=None), "expected a tensor"),
        "integers": (stored(latent, ws=torch.ones(2, 6, 16, dtype=torch.int64)), "floating"),
        "flat": (stored(latent, ws=torch.ones(16)), r"\[N, num_ws, w_dim\]"),
        "no rows": (stored(latent, ws=torch.ones(0, 6, 16), names=[]), "num_ws"),
        "sparse": (stored(latent, ws=torch.ones(2, 6, 16).to_sparse()), "refused"),
        "space": (stored(latent, space="z"), "space"),
        "version": (stored(latent, version=99), "version 99"),
        "no generator": (stored(latent, generator=None), "which generator"),
        "names": (stored(latent, names=["one"]), "names"),
        "noise shape": (stored(latent, noise=[torch.ones(3, 1, 4, 4)]), "noise"),
        "noise type": (stored(latent, noise={"a": 1}), "noise"),
        "no noise pixels": (stored(latent, noise=[torch.ones(1, 1, 0, 0)]), "noise"),
        "offsets shape": (stored(latent, offsets=[torch.ones(3, 4)]), "offsets"),
        "offsets type": (stored(latent, offsets=torch.ones(2, 4)), "offsets: expected a list"),
        "endless offset": (stored(latent, offsets=[torch.full((1, 4), torch.inf)]), "infinite"),
        "cameras shape": (stored(latent, cameras=torch.ones(1, 25)), r"expected float32 \[2, 25\]"),
        "cameras type": (stored(latent, cameras=[torch.ones(2, 25)]), "cameras: expected a tensor"),
        "endless camera": (stored(latent, cameras=torch.full((2, 25), torch.inf)), "infinite"),
        "no offset": (stored(latent, offsets=[None]), "offsets: expected a tensor"),
        "many views": (stored(latent, noise=[big] * 100), "more than the file can hold"),
        "tensor format": (stored(latent, format=torch.ones(2)), "not a latent that ganedit wrote"),
        "tensor version": (stored(latent, version=torch.ones(2)), "version is unknown"),
        "true version": (stored(latent, version=True), "version is unknown"),
        "huge version": (stored(latent, version=10**9), "version is unknown"),
        "tensor space": (stored(latent, space=torch.ones(2, 2)), "space"),
        "tuning": (stored(latent, tuning=["a"]), "tuning"),
        "tuning elsewhere": (stored(latent, tuning="../a.safetensors"), "tuning"),
        "tuning upstairs": (stored(latent, tuning=".."), "tuning"),
        "tuning with a zero": (stored(latent, tuning="a\0b"), "tuning"),
        "alignment": (stored(latent, alignment="a"), "alignment: expected a list"),
        "one alignment": (stored(latent, alignment=[{}]), "alignment"),
        "alignment of text": (stored(latent, alignment=["a", "b"]), "alignment"),
        "no photo": (aligned(photo=3), "alignment.*photo"),
        "no photo's name": (aligned(photo=""), "alignment.*photo"),
        "photo with a zero": (aligned(photo="a\0b"), "alignment.*photo"),
        "no size": (aligned(size=None), "alignment"),
        "empty photo": (aligned(size=[0, 8]), "alignment.*width and height"),
        "half a pixel": (aligned(size=[9.5, 8]), "alignment.*whole pixels"),
        "three corners": (aligned(quad=[[0, 0]] * 3), "alignment.*four corners"),
        "long corners": (aligned(quad=[[0, 0, 0]] * 4), "alignment"),
        "no corners": (aligned(quad={}), "alignment"),
        "text corners": (aligned(quad=[["0", "0"]] * 4), "alignment"),
        "true corners": (aligned(quad=[[True, 0]] * 4), "alignment"),
        "endless corner": (aligned(quad=[[0, math.inf]] * 4), "alignment.*not finite"),
        "far corner": (aligned(quad=[[0, 1e300]] * 4), "alignment.*far outside"),
        "endless integer": (aligned(quad=[[0, 10**400]] * 4), "alignment"),
        "too large a number": (stored(latent, ws=latent.ws.double() + 1e300), "infinite"),
    }


CASES = list(bad_cases(Latent(torch.zeros(2, 6, 16), "w+", "f", "n", names=("a", "b"))))


@pytest.mark.parametrize("case", CASES)
def test_bad_latents_are_refused_in_one_line(tmp_path, latent, case):
    content, reason = bad_cases(latent)[case]
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(GaneditError, match=reason) as caught:
        load_latent(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_files_folders_and_huge_files_are_refused(tmp_path, latent, monkeypatch):
    with pytest.raises(GaneditError, match="no such file"):
        load_latent(tmp_path / "absent.pt")
    with pytest.raises(GaneditError, match="folder"):
        load_latent(tmp_path)
    save_latent(tmp_path / "huge.pt", latent)
    monkeypatch.setattr(latents, "MAX_BYTES", 2**10)
    with pytest.raises(GaneditError, match="too large"):
        load_latent(tmp_path / "huge.pt")


def test_half_precision_is_read_as_float32(tmp_path, latent):
    (tmp_path / "a.pt").write_bytes(stored(latent, ws=latent.ws.half()))
    assert load_latent(tmp_path / "a.pt").ws.dtype == torch.float32


def test_a_latent_of_another_generator_or_shape_is_refused(latent):
    fits = {"fingerprint": "sha256:abc", "num_ws": 6, "w_dim": 16, "network": "clay"}
    check_latent(latent, **fits)
    with pytest.raises(GaneditError, match="ann: its shape is 6x16, but clay takes 10x16"):
        check_latent(latent, **(fits | {"num_ws": 10}))
    with pytest.raises(GaneditError, match="another generator"):
        check_latent(latent, **(fits | {"fingerprint": "sha256:def"}))


def test_wrong_fields_are_programming_errors(latent):
    with pytest.raises(ValueError, match="ws"):
        replace(latent, ws=latent.ws.double())
    with pytest.raises(ValueError, match="names"):
        replace(latent, names=("only one",))
    with pytest.raises(ValueError, match="alignment"):
        replace(latent, alignment=latent.alignment[:1])
    with pytest.raises(ValueError, match="tuning"):
        replace(latent, tuning="")


def test_files_from_before_tuning_and_alignment_are_read(tmp_path, latent):
    (tmp_path / "a.pt").write_bytes(stored(latent))
    loaded = load_latent(tmp_path / "a.pt")
    assert (loaded.tuning, loaded.alignment) == (None, ())


def test_what_could_not_be_read_is_not_written(tmp_path, latent, monkeypatch):
    with pytest.raises(GaneditError, match="not written, the latent holds NaN"):
        save_latent(tmp_path / "a.pt", replace(latent, ws=torch.full_like(latent.ws, torch.nan)))
    monkeypatch.setattr(latents, "MAX_BYTES", 2**20)
    large = replace(latent, noise=(torch.zeros(2, 1, 400, 400),))
    with pytest.raises(GaneditError, match="2 MB is too large for a latent file, which may have 1"):
        save_latent(tmp_path / "a.pt", large)
    check_file_size("a.pt", like=large.row(1), rows=1)
    with pytest.raises(GaneditError, match="too large"):
        check_file_size("a.pt", like=large, rows=2)
    assert list(tmp_path.iterdir()) == []


def test_noise_maps_of_another_generator_are_refused(latent):
    fits = {"fingerprint": "sha256:abc", "num_ws": 6, "w_dim": 16, "network": "clay"}
    check_latent(latent, noise_shapes=[(4, 4), (8, 8)], **fits)
    for shapes in ([(4, 4)], [(4, 4), (8, 9)], []):
        with pytest.raises(GaneditError, match="ann: its noise maps do not fit clay"):
            check_latent(latent, noise_shapes=shapes, **fits)


def test_style_offsets_must_fit_the_generator(latent):
    fits = {"fingerprint": "sha256:abc", "num_ws": 6, "w_dim": 16, "network": "clay"}
    check_latent(latent, style_widths=[5, 3], **fits)
    for widths in ([5], [5, 4], []):
        with pytest.raises(GaneditError, match="ann: its style offsets do not fit clay"):
            check_latent(latent, style_widths=widths, **fits)


def test_rows_are_views(latent):
    part = latent.rows(1, 2)
    assert part.names == ("bo",)
    assert part.alignment == latent.alignment[1:]
    assert part.tuning == latent.tuning
    assert part.ws.data_ptr() == latent.ws[1:].data_ptr()
    assert torch.equal(part.noise[0], latent.noise[0][1:])
    assert part.noise[1] is latent.noise[1]
    assert torch.equal(part.offsets[0], latent.offsets[0][1:])
