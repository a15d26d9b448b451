"""Downloads: cached, resumable, checked, atomic. The only place that uses the network itself."""

import contextlib
import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, Any

from ganedit.errors import GaneditError
from ganedit.io.files import file_digest, make_folder, write_error

OnBytes = Callable[[int, int | None], None]
"""Progress of a download: called with the bytes so far and in all (None when unknown)."""

START_BYTES = 1 << 16
"""How much of a file's start `download` shows to ``check_start``."""

MAX_BYTES = 1 << 34

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30
_SHA256 = re.compile(r"[0-9a-f]{8,64}")


def download(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    check_start: Callable[[bytes], None] | None = None,
    on_progress: OnBytes | None = None,
) -> Path:
    """Fetch ``url`` into ``path``, unless a good file is there, and return it.

    The bytes arrive in ``<name>.part`` beside the target, which a later call continues if the file
    on the server is still the same: the server's mark of its version is kept in
    ``<name>.part.version``. The target appears only when complete and of the right hash.

    Args:
        url: An http or https address.
        path: Where the file belongs; parent folders are made.
        sha256: Hex digits of the file's SHA-256, all 64 or the first 8 or more; without, any file
            that is there is good.
        check_start: Called with the first bytes of the file (`START_BYTES`, or all), before any is
            kept; raises to refuse it.
        on_progress: Called with the bytes so far and in all (None when unknown).

    Raises:
        GaneditError: The network or the disk fails, the file has another hash or is larger than
            16 GB, or the server leads from https to http. What ``check_start`` raises passes
            through.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url: expected http:// or https://, got {url!r}")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise ValueError(f"sha256: expected 8 to 64 lower-case hex digits, got {sha256!r}")
    path = Path(path)
    try:
        if path.is_file() and (sha256 is None or file_digest(path).startswith(sha256)):
            return path
        make_folder(path.parent)
        with _locked(path.with_name(f"{path.name}.part")) as part:
            _fetch(
                url, part, by_hash=sha256 is not None, check=check_start, on_progress=on_progress
            )
            _accept(url, part, path, sha256)
    except urllib.error.HTTPError as error:
        error.close()
        raise GaneditError(f"{url}: {_refusal(error)}, or put the file at {path}") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as e:
        raise GaneditError(
            f"{url}: cannot be fetched ({_reason(e)}); check the connection, or put the file at"
            f" {path}"
        ) from e
    except OSError as error:
        raise write_error(path, error) from error
    return path


def _reason(error: BaseException) -> str:
    cause = getattr(error, "reason", None) or error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _refusal(error: urllib.error.HTTPError) -> str:
    """Return what the server answers, and what to do about it."""
    said = f"the server answers {error.code} {error.reason}".rstrip()
    if error.code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return f"{said}, perhaps it wants a login; fetch the file in a browser"
    if error.code == http.HTTPStatus.TOO_MANY_REQUESTS or error.code >= 500:
        return f"{said}; try again later"
    return f"{said}; check the address"


@contextmanager
def _locked(part: Path) -> Iterator[IO[bytes]]:
    """Open an unfinished file for appending, for this process alone.

    Two processes that append to one file would make a file of the right length and wrong content.
    """
    with part.open("ab") as file:
        if not _lock(file) or not _is_at(file, part):
            raise GaneditError(f"{part}: another process is fetching this file; wait for it")
        try:
            yield file
        finally:
            file.flush()
            # Nothing kept is nothing to continue.
            if _is_at(file, part) and part.stat().st_size == 0:
                with contextlib.suppress(OSError):
                    part.unlink()
                    _version_file(part).unlink(missing_ok=True)


def _lock(file: IO[bytes]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows itself refuses to open the file twice for the final renaming
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Return whether ``file`` is what lies at ``path``; it may have been renamed meanwhile."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _accept(url: str, part: IO[bytes], path: Path, sha256: str | None) -> None:
    """Move the complete part into place, unless its hash is another."""
    part.flush()
    os.fsync(part.fileno())
    unfinished = Path(part.name)
    if sha256 is not None:
        got = file_digest(unfinished)
        if not got.startswith(sha256):
            _start_over(part)
            cut = "…" if len(sha256) < len(got) else ""
            raise GaneditError(
                f"{url}: expected SHA-256 {sha256}{cut}, got {got[: len(sha256)]}{cut};"
                " the file was discarded; try again, or fetch it by hand"
            )
    unfinished.replace(path)
    _version_file(unfinished).unlink(missing_ok=True)


def _fetch(
    url: str,
    part: IO[bytes],
    *,
    by_hash: bool,
    check: Callable[[bytes], None] | None,
    on_progress: OnBytes | None,
) -> None:
    """Append to ``part`` what is missing; start over when that cannot be done safely.

    Args:
        url: The address.
        part: The unfinished file, open for appending.
        by_hash: A hash will tell whether the whole is right, so a server without marks of its
            versions may continue too.
        check: See `download`.
        on_progress: See `download`.
    """
    done = part.tell()
    version = _read_version(Path(part.name))
    if done < START_BYTES or not (version or by_hash):
        _start_over(part)
        done = 0
    request = urllib.request.Request(url, headers={"User-Agent": "ganedit"})
    if done:
        request.add_header("Range", f"bytes={done}-")
        if version:
            request.add_header("If-Range", version)
    try:
        answer = _open(request)
    except urllib.error.HTTPError as error:
        if not done or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        if error.headers.get("Content-Range", f"bytes */{done}") == f"bytes */{done}" and by_hash:
            return  # the part is as long as the file; its hash decides
        _start_over(part)
        return _fetch(url, part, by_hash=by_hash, check=check, on_progress=on_progress)
    with answer:
        if not _continues(answer, done, version):
            done = 0
            _start_over(part)
        _copy(answer, part, done, check if done == 0 else None, on_progress)


def _start_over(part: IO[bytes]) -> None:
    part.seek(0)
    part.truncate()


def _continues(answer: Any, done: int, version: str | None) -> bool:
    """Return whether an answer goes on where the part ends, in the same version of the file."""
    if not done or answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        return False
    spans = answer.headers.get("Content-Range", f"bytes {done}-").startswith(f"bytes {done}-")
    return spans and (version is None or _version(answer.headers) in (None, version))


def _copy(
    answer: Any,
    part: IO[bytes],
    done: int,
    check: Callable[[bytes], None] | None,
    on_progress: OnBytes | None,
) -> None:
    """Append an answer to the part, which holds ``done`` bytes."""
    length = answer.headers.get("Content-Length")
    total = done + int(length) if length is not None and length.isdecimal() else None
    _refuse_large(total or 0, answer.url)
    if done == 0:
        _write_version(Path(part.name), _version(answer.headers))
    block = _read(answer, START_BYTES)
    if check is not None:
        if total is not None and len(block) < min(START_BYTES, total):
            raise ConnectionError(f"connection closed after {len(block)} of {total} bytes")
        check(block)
    while block:
        part.write(block)
        done += len(block)
        _refuse_large(done, answer.url)
        if on_progress is not None:
            on_progress(done, total)
        block = _read(answer, _CHUNK)
    if total is not None and done < total:
        raise ConnectionError(f"connection closed after {done} of {total} bytes")


def _read(answer: Any, count: int) -> bytes:
    """Read from the network, whose errors must not pass for the disk's."""
    try:
        return answer.read(count)
    except OSError as error:
        raise ConnectionError(_reason(error)) from error


def _refuse_large(size: int, url: str) -> None:
    if size > MAX_BYTES:
        raise GaneditError(
            f"{url}: more than {MAX_BYTES >> 30} GB, which no network is; check the address"
        )


# The version of a file on a server, as a later If-Range request wants it


def _version(headers: Message) -> str | None:
    """Return the server's strong mark of a file's version, or None when it gives none."""
    tag = headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    changed = headers.get("Last-Modified")
    # A file that changed within the second of the answer could change again unseen (RFC 9110).
    return changed if changed != headers.get("Date") else None


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _read_version(part: Path) -> str | None:
    try:
        text = _version_file(part).read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if text.isprintable() and text else None


def _write_version(part: Path, version: str | None) -> None:
    if version is not None and version.isascii() and version.isprintable():
        _version_file(part).write_text(version, "ascii")
    else:
        _version_file(part).unlink(missing_ok=True)


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to anything less."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request that follows, or raise."""
        old, new = (urllib.parse.urlsplit(url).scheme for url in (req.full_url, newurl))
        if new != "https" and new != old:
            fp.close()
            raise GaneditError(
                f"{req.full_url}: the server leads to {newurl:.200}, which is not https; refused"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: urllib.request.Request) -> Any:
    return urllib.request.build_opener(_NoDowngrade).open(request, timeout=_TIMEOUT_SECONDS)
