"""Data files that lie inside a package: the wheel is downloaded and opened as a zip, never installed or run."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

from .artefact import write_bytes
from .errors import UserError

SECONDS_TO_ANSWER = 10


def fetch_from_wheel(requirement: str, members: dict[str, Path], sha256: dict[str, str]) -> None:
    """Downloads a wheel with pip, which knows the index, the mirror and the proxies that the user has set, and writes
    some of its files; no dependency of it is downloaded.

    Args:
        requirement: What pip is asked for, with its version, e.g. "recbole==1.2.1".
        members: Path within the wheel → file to write. Each file is written whole or not at all.
        sha256: Path within the wheel → what its contents must hash to; a member left out is not checked.

    Raises:
        UserError: pip has no such wheel, a member is missing, or its contents are others than expected.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            folder,
            requirement,
        ]
        options = ["--quiet", "--disable-pip-version-check", "--retries=1", f"--timeout={SECONDS_TO_ANSWER}"]
        done = subprocess.run([*command, *options], capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it did not say why"]
            raise UserError(
                f"pip could not download {requirement} ({lines[-1]}): check the network or the package index."
            )
        (wheel,) = Path(folder).glob("*.whl")
        unpack(wheel, members, sha256)


def unpack(archive: Path | BinaryIO, members: dict[str, Path], sha256: dict[str, str]) -> None:
    """Writes members of a zip to files, each whole or not at all, once all are there and checked.

    Args:
        archive: A zip: its path or its opened bytes.
        members: Path within the zip → file to write.
        sha256: Path within the zip → what its contents must hash to; a member left out is not checked.

    Raises:
        UserError: `archive` is no zip, a member is missing or damaged, or its contents are others than expected.
    """
    name = getattr(archive, "name", "the download")
    try:
        with zipfile.ZipFile(archive) as opened:
            contents = {member: opened.read(member) for member in members}
    except zipfile.BadZipFile as error:
        raise UserError(f"{name} is no whole zip file ({error}): fetch it again.") from None
    except KeyError as error:
        raise UserError(
            f"{name} is not the expected package ({error.args[0]}): fetch the version that holds it."
        ) from None
    for member, digest in sha256.items():
        found = hashlib.sha256(contents[member]).hexdigest()
        if found != digest:
            raise UserError(
                f"{member} in {name} has SHA-256 {found}, not {digest}: it is another version; fetch the right one."
            )
    for member, path in members.items():
        write_whole(path, contents[member])


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, and the folder that it lies in, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
