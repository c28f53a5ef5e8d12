"""An artefact: a folder that is either absent or whole, with a manifest that says what it is and was made from."""

import errno
import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from .errors import DiskFullError, UserError

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"
BEING_WRITTEN, REPLACED = ".writing", ".replaced"  # what a process that was killed may leave behind

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """What an artefact is.

    format: Of its files; to be raised when they come to mean something else. It is part of every key.
    """

    name: str
    format: int


DATASET = Kind("dataset", 3)
MAPPED = Kind("mapped columns of a dataset", 1)
STUDENT = Kind("student", 2)  # 2: a Caser reads the newest item at the last place
LANGUAGE_MODEL = Kind("language model", 1)
ENCODINGS = Kind("encodings", 1)
TEACHER = Kind("teacher", 1)
CALIBRATION = Kind("calibration", 1)
PROBE = Kind("probe", 1)
ENSEMBLE = Kind("ensemble", 1)
TEACHER_OUTPUTS = Kind("teacher outputs", 1)
EXPORTED_PART = Kind("part of teacher outputs", 2)  # 2: of what is read at once, no longer of examples in order
EVALUATION = Kind("evaluation", 3)
COMPARISON = Kind("comparison", 2)
ANSWERS = Kind("answers", 1)
EXPORTED = Kind("exported data", 1)
SERVED = Kind("served model", 1)
UPDATED_LOG = Kind("updated log", 1)


def fingerprint(*parts: Any) -> str:
    """Returns 16 hex digits that change with anything in `parts` (plain JSON values) but the order of keys."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's contents in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- writing


@contextmanager
def writing(folder: Path, kind: Kind, manifest: dict[str, Any]) -> Iterator[Path]:
    """Yields a temporary folder to write into; on success it gets `manifest.json` and becomes `folder` by renaming.

    If the block raises, nothing is left behind and an earlier `folder` stays as it was. If the process is killed or the
    power fails, `folder` is the earlier or the new one, each whole (`making` tidies up). The block may still add to
    `manifest`: it is written last.

    Args:
        folder: Becomes the artefact.
        kind: What it is.
        manifest: What it was made from; kind, format, name, and sizes and SHA-256 of each file are added.

    Raises:
        DiskFullError: The disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=BEING_WRITTEN, dir=folder.parent))
    replaced = temporary.with_suffix(REPLACED)
    try:
        with told_where_disk_is_full(folder):
            yield temporary
            about = {"kind": kind.name, "format": kind.format, "artefact": folder.name}
            write_json(temporary / MANIFEST, about | manifest | about | {"files": _contents(temporary)})
            temporary.chmod(0o755)  # mkdtemp makes a private folder; an artefact is shared like any other
            for path in (*temporary.iterdir(), temporary):
                on_disk(path)
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
        on_disk(folder.parent)
    finally:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        for left in (temporary, replaced):
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def making(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Lets one process at a time make the artefact `folder`; another waits here and says for whom. Yields whether it is
    this one's turn, which it always is where it waits.

    The operating system takes the lock from a process that ends, however it ends. What such a process left half-written
    beside `folder` is removed; if it had put the earlier artefact aside, that one comes back.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(folder.with_name(f".{folder.name}.lock")), folder.with_name(f".{folder.name}.owner")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            yield False
            return
        log.info("%s makes %s now: waiting for it to end", _read(owner) or "another process", folder)
        lock.acquire()
    try:
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        for earlier in folder.parent.glob(f".{folder.name}.*{REPLACED}"):
            if not folder.exists():
                earlier.rename(folder)
        for ending in (BEING_WRITTEN, REPLACED):
            for left in folder.parent.glob(f".{folder.name}.*{ending}"):
                shutil.rmtree(left)
        yield True
    finally:
        lock.release()


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Yields a folder beside the artefact `folder` for what its making needs meanwhile; nothing of it stays (`making`
    tidies up where a process is killed).

    Raises:
        DiskFullError: The disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=BEING_WRITTEN, dir=folder.parent))
    try:
        with told_where_disk_is_full(temporary):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def unfinished(folder: Path) -> Path:
    """Returns where what is done of an artefact is kept until all of it is."""
    return folder.with_name(f"{folder.name}.unfinished")


def on_disk(path: Path) -> None:
    """Waits until a file's contents, or a folder's names, would survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def told_where_disk_is_full(path: Path) -> Iterator[None]:
    """Turns what libraries raise when a disk is full into one sentence.

    Raises:
        DiskFullError: The block could not write `path`, or what becomes it.
    """
    try:
        yield
    except Exception as error:
        # safetensors and PyTorch raise errors of their own, PyTorch one that does not say why
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        if not full and not (isinstance(error, RuntimeError | OSError) and _free(path) < 1 << 20):
            raise
        path = Path(getattr(error, "filename", None) or path)
        raise DiskFullError(
            f"{path} did not fit on the disk, which has {_free(path) / 2**20:,.1f} MiB left: free some space and start "
            "the same command again."
        ) from error


def _free(path: Path) -> int:
    there = next(folder for folder in path.parents if folder.exists())
    return shutil.disk_usage(there).free


# --- reading


def opened(folder: Path, kind: Kind, *keys: str) -> dict[str, Any]:
    """Returns the manifest of an artefact, once every file was found to be as it was written.

    Args:
        folder: The artefact.
        kind: What it must be.
        keys: What the caller reads of the manifest.

    Raises:
        UserError: It is no artefact, one of another kind or format, its manifest lacks keys, or a file is missing or
            has changed.
    """
    manifest = read_manifest(folder)
    again = "make it again (rerun=true), or copy it again from where it is whole"
    if manifest.get("kind") != kind.name:
        raise UserError(f"{folder} holds no {kind.name} but {manifest.get('kind')}: give the folder of a {kind.name}.")
    if manifest.get("format") != kind.format:
        raise UserError(
            f"The {kind.name} in {folder} has format {manifest.get('format')}, and this version of the program reads "
            f"format {kind.format}: make it again with this version."
        )
    for name, written in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"The {kind.name} in {folder} lacks {name}: {again}.")
        if _content(path) != written:
            raise UserError(f"{path} has changed since it was written (its SHA-256 is another): {again}.")
    _refuse_lacking(folder, manifest, keys)
    return manifest


def read_manifest(folder: Path, *keys: str) -> dict[str, Any]:
    """Returns the manifest of an artefact; `opened` also looks at what it says.

    Args:
        folder: The artefact.
        keys: What the caller reads of it.

    Raises:
        UserError: `folder` holds no manifest, or one that is not JSON, lacks keys or says nothing of files.
    """
    path = folder / MANIFEST
    try:
        manifest = read_json(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UserError(f"{folder} is no artefact of this program: it has no {MANIFEST}.") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise UserError(f"{path} says nothing of an artefact's files: delete the folder and make it again.")
    _refuse_lacking(folder, manifest, keys)
    return manifest


def _refuse_lacking(folder: Path, manifest: dict[str, Any], keys: Sequence[str]) -> None:
    lacks = [key for key in keys if key not in manifest]
    if lacks:
        raise UserError(f"{folder / MANIFEST} lacks {', '.join(lacks)}: delete the folder and make it again.")


def digest(folder: Path) -> str:
    """Returns 16 hex digits that change with the contents of any file that was written to an artefact, as its manifest
    keeps them, and with the contents that its inputs had: a calibration of another teacher is another one although its
    file may be the same. Nothing else of the manifest counts.

    Raises:
        UserError: `folder` holds no manifest.
    """
    manifest = read_manifest(folder)
    return fingerprint(manifest["files"], manifest.get("inputs", {}))


def digest_as_it_is(folder: Path) -> str:
    """Returns `digest` from the files themselves: for folders that somebody else may have written or changed."""
    try:
        inputs = read_manifest(folder).get("inputs", {})
    except UserError:
        inputs = {}
    return fingerprint(_contents(folder), inputs)


def _contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns size and SHA-256 of every file but the manifest."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != MANIFEST]
    return {path.name: _content(path) for path in files}


def _content(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


# --- single files


def read_json(path: Path) -> Any:
    """Returns what a JSON file holds.

    Raises:
        UserError: It is not JSON.
        OSError: It cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, is not JSON: copy it again or make it again.") from None
    except (ValueError, RecursionError) as error:  # another encoding; brackets or digits without end
        raise UserError(f"{path} is not JSON ({type(error).__name__}): copy it again or make it again.") from None


def read_tensors(path: Path, *names: str) -> "dict[str, Tensor]":
    """Returns the tensors of a safetensors file.

    Args:
        path: The file.
        names: Tensors that it must hold.

    Raises:
        UserError: It is not there, cut short, no such file, lacks some, or holds a NaN.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} is not there: copy it again or make it again.") from None
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is no safetensors file, or is cut short ({error}): copy it again or make it again."
        ) from None
    lacks = [name for name in names if name not in tensors]
    if lacks:
        raise UserError(f"{path} lacks {', '.join(lacks)}: copy it again or make it again.")
    no_number = [name for name, tensor in tensors.items() if tensor.isnan().any()]
    if no_number:
        raise UserError(f"{path}, {no_number[0]}, holds values that are not finite (NaN): make it again.")
    return tensors


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes `text` in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` in one rename, so that a file of that name is never half-written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        on_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
