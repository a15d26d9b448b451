"""Downloads: cached, resumable, hash-checked, atomic. The only place that uses the network."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from ganedit.errors import GaneditError
from ganedit.io.files import file_digest, make_folder, write_error

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30


def download(
    url: str,
    path: str | Path,
    *,
    sha256: str,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Fetch ``url`` into ``path``, unless a file with the right hash is there, and return it.

    The bytes arrive in ``<name>.part`` beside the target, which a later call continues. The
    target appears only when complete and of the right hash.

    Args:
        url: An http or https address.
        path: Where the file belongs; parent folders are made.
        sha256: Hex digits of the file's SHA-256, all 64 or the first 8 or more.
        on_progress: Called with the bytes so far and in all (None when unknown).

    Raises:
        GaneditError: The network or the disk fails, or the hash is another.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url: expected http:// or https://, got {url!r}")
    if not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise ValueError(f"sha256: expected 8 to 64 lower-case hex digits, got {sha256!r}")
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        if path.is_file() and file_digest(path).startswith(sha256):
            return path
        make_folder(path.parent)
        _fetch(url, part, on_progress)
        digest = file_digest(part)
        if not digest.startswith(sha256):
            part.unlink()
            raise GaneditError(
                f"{url}: expected SHA-256 {sha256}…, got {digest[: len(sha256)]}…;"
                " the file was discarded; try again, or fetch it by hand"
            )
        part.replace(path)
    except urllib.error.HTTPError as error:
        raise GaneditError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as e:
        reason = getattr(e, "reason", None) or e
        raise GaneditError(
            f"{url}: cannot be fetched ({reason}); check the connection, or put the file at {path}"
        ) from e
    except OSError as error:
        raise write_error(path, error) from error
    return path


def _fetch(url: str, part: Path, on_progress: Callable[[int, int | None], None] | None) -> None:
    """Append to ``part`` what is missing; start over when the server cannot continue."""
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "ganedit"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # The part is as long as the file, or longer: its hash decides, or it is fetched anew.
        return
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        done = done if resumed else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length is not None else None
        with part.open("ab" if resumed else "wb") as file:
            _copy(answer, file, done, total, on_progress)


def _copy(
    answer: Any,
    file: IO[bytes],
    done: int,
    total: int | None,
    on_progress: Callable[[int, int | None], None] | None,
) -> None:
    while block := answer.read(_CHUNK):
        file.write(block)
        done += len(block)
        if on_progress is not None:
            on_progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"connection closed after {done} of {total} bytes")
