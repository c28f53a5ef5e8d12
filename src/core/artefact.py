"""An artefact: a folder that is either absent or whole, with a manifest that says what it was made from."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"


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


@contextmanager
def writing(folder: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """Yields a temporary folder to write into; on success it gets `manifest.json` and becomes `folder` by renaming.

    If the block raises, nothing is left behind and an earlier `folder` stays as it was. The block may still add to
    `manifest`: it is written last.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    replaced = temporary.with_name(f"{temporary.name}.replaced")
    try:
        yield temporary
        write_json(temporary / MANIFEST, {**manifest, "files": _contents(temporary)})
        temporary.chmod(0o755)  # mkdtemp makes a private folder; an artefact is shared like any other
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def digest(folder: Path) -> str:
    """Returns 16 hex digits that change with the contents of any file that was written to an artefact, as its manifest
    keeps them (of a folder without a manifest: as they are); the manifest itself does not count.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) if (folder / MANIFEST).is_file() else {}
    return fingerprint(manifest.get("files") or _contents(folder))


def digest_as_it_is(folder: Path) -> str:
    """Returns `digest` from the files themselves: for folders that somebody else may have changed."""
    return fingerprint(_contents(folder))


def _contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns size and SHA-256 of every file but the manifest."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != MANIFEST]
    return {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in files}


def read_manifest(folder: Path, *keys: str) -> dict[str, Any]:
    """Returns the manifest of an artefact.

    Args:
        folder: The artefact.
        keys: What the caller reads of it.

    Raises:
        UserError: `folder` holds no manifest, or one that is not JSON or lacks keys.
    """
    path = folder / MANIFEST
    try:
        manifest = read_json(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UserError(f"{folder} is no artefact of this program: it has no {MANIFEST}.") from None
    if not isinstance(manifest, dict):
        raise UserError(f"{path} holds no keys: delete the folder and make it again.")
    refuse_lacking(folder, manifest, *keys)
    return manifest


def refuse_lacking(folder: Path, manifest: dict[str, Any], *keys: str) -> None:
    """Makes sure that a manifest has keys.

    Raises:
        UserError: It lacks some.
    """
    lacks = [key for key in keys if key not in manifest]
    if lacks:
        raise UserError(f"{folder / MANIFEST} lacks {', '.join(lacks)}: delete the folder and make it again.")


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
    """Writes `text`, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
