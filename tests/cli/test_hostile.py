"""Hostile and mistaken files through the commands: one line, soon, and nothing left behind."""

import io
import pickle
import struct
import time
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.io.hostile import (
    archive,
    bare,
    blob,
    call,
    many_members,
    name,
    nested,
    row,
    stream,
    text,
)

SECONDS = 5  # of a whole command; each should take a fraction of one


def whole_network() -> bytes:
    buffer = io.BytesIO()
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def latent() -> bytes:
    buffer = io.BytesIO()
    torch.save({"format": "ganedit-latent", "version": 1, "ws": torch.zeros(1, 6, 16)}, buffer)
    return buffer.getvalue()


def weights(kind: str) -> bytes:
    header = f'{{"generator.a": {{"dtype": "{kind}", "shape": [1], "data_offsets": [0, 4]}}}}'
    return struct.pack("<Q", len(header)) + header.encode() + bytes(4)


SHELL = call(name("os", "system"), text("touch canary"))
LAUGHS = b"N\x85" + b"2\x86" * 100
FILES = {
    "os.system": (bare(SHELL), "os.system"),
    "os.system beside a network": (bare(row(b"N", SHELL, b"}")), "os.system"),
    "os.system in a torch file": (archive(SHELL), "os.system"),
    "os.system in an old torch file": (stream(SHELL), "os.system"),
    "os.system in a nested storage": (bare(nested(stream(SHELL))), "os.system"),
    "whole network": (whole_network(), "it pickles a whole network object"),
    "safetensors header of 4 GB": (struct.pack("<Q", 2**32) + b'{"a": 1}', "header of 4294967296"),
    "safetensors header of 30 MB": (
        struct.pack("<Q", 30 << 20) + b"{" + b" " * (30 << 20) + b"}",
        "a header of 31457280",
    ),
    "safetensors of others": (weights("F32"), "not a network written by ganedit"),
    "safetensors of integers": (weights("I32"), "holds I32, not weights"),
    "pickle cut short": (bare(blob(bytes(10_000)))[:-50], "ends too early"),
    "laughing value": (bare(LAUGHS), "entries"),
    "memo of one hash": (bare(b"Np" + b"9" * 1900 + b"\n"), "memo index"),
    "zip bomb": (archive(b"N", method=zipfile.ZIP_DEFLATED, data=bytes(2**27)), "unpacks to 128"),
    "zip of 100,000 members": (many_members(100_000), "100000 members"),
    "latent": (latent(), "a latent"),
    "plain pickle": (pickle.dumps({"a": 1}), "no network that ganedit knows"),
    "web page": (b"<html><title>Quota exceeded</title>", "an HTML page titled 'Quota exceeded'"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "text": (b"hello", "something unknown"),
    "empty": (b"", "is empty"),
}
COMMANDS = {
    "generate": ("generate", "--network", "FILE", "--seeds", "1", "--out", "out"),
    "project": ("project", "photo.png", "--network", "FILE", "--steps", "1", "--out", "out"),
    "convert": ("convert", "FILE", "out.safetensors"),
    "inspect": ("inspect", "FILE"),
    "interpolate": ("interpolate", "FILE", "FILE", "--out", "out"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", FILES)
def test_a_bad_file_is_one_line_soon_and_leaves_nothing(fails, tmp_path, kind, command):
    content, words = FILES[kind]
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    Image.new("RGB", (16, 16)).save("photo.png")
    started = time.perf_counter()
    line = fails(*(path if part == "FILE" else part for part in COMMANDS[command]))
    assert time.perf_counter() - started < SECONDS
    assert line.startswith(f"error: {path}: ")
    assert len(line.removeprefix(f"error: {path}")) < 300
    # Where latents are wanted, another line may say more; what is refused is always named.
    if command != "interpolate" or "os.system" in kind:
        assert words in line
    assert [entry.name for entry in Path.cwd().rglob("*") if entry.is_file()] == ["photo.png"]


@pytest.mark.parametrize("path", ["/dev/zero", "a\0b"])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_regular_file_keeps_no_command_waiting(fails, command, path):
    line = fails(*(path if part == "FILE" else part for part in COMMANDS[command]))
    assert line.isprintable()
