"""What a file is, in words, from its first bytes: for the error about one that cannot be used."""

import html
import re

from ganedit.io.stored import shown

_HTML = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body|!--|\?xml)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_TITLE_WITHIN = 1 << 13  # bytes; the search takes their square
_JSON = re.compile(rb"(\xef\xbb\xbf)?\s*[{\[]\s*[\"\]}\[{\d]")

_KINDS = (
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself (run git lfs pull)"),
    (rb"\x1f\x8b", "a gzip archive (unpack it first)"),
    (rb"BZh", "a bzip2 archive (unpack it first)"),
    (rb"\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", "a compressed archive (unpack it first)"),
    (rb"PK\x05\x06", "an empty zip archive"),
    (rb"PK\x03\x04", "a zip archive"),
    (rb"\x89HDF", "an HDF5 file (Keras, TensorFlow), which ganedit does not read"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", "a picture"),
    (rb"\x93NUMPY", "a numpy array (.npy)"),
    (rb"[\0-\xff]{6}\0\0\{", "a safetensors file"),
    (rb"\x08[\x01-\x20]\x12[\0-\x40]", "an ONNX network, which ganedit does not read"),
    (rb"GGUF", "a GGUF file, which ganedit does not read"),
    (
        rb"(?=[\0-\xff]{0,92}storages)[\0-\xff]{257}ustar",
        "a torch file from before 2017 (tar); load and save it anew with torch 1.x",
    ),
    (rb"[\0-\xff]{257}ustar", "a tar archive"),
)


def kind_of(start: bytes) -> str:
    """Return what a file is that begins with ``start``, as a noun phrase that fits in a line.

    Args:
        start: Its first bytes; a few thousand reach the title of a web page.
    """
    if not start:
        return "an empty file"
    if _HTML.match(start):
        title = _TITLE.search(start[:_TITLE_WITHIN].decode("utf-8", "replace"))
        words = _words(html.unescape(title[1])) if title else ""
        return f"an HTML page titled '{words}'" if words else "an HTML page"
    for pattern, kind in _KINDS:
        if re.match(pattern, start, re.DOTALL):
            return kind
    text = start[:512].decode("utf-8", "replace")
    if _JSON.match(start):
        return f"a JSON answer '{_words(text)}'"
    if all(char.isprintable() or char.isspace() for char in text):
        return f"something unknown that starts with '{_words(text)}'"
    return "something unknown"


def _words(text: str) -> str:
    return shown(" ".join(text.lstrip("\ufeff").split()), longest=80)
