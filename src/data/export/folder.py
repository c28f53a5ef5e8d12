"""The folder of an export: whole or not at all, and never in the place of something else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.artefact import EXPORTED, MANIFEST, read_manifest, writing
from ...core.errors import UserError


@contextmanager
def exporting(folder: Path, layout: str, about: dict[str, Any]) -> Iterator[Path]:
    """Yields a temporary folder that becomes `folder`, as `core.artefact.writing`; an earlier export of the same layout
    is replaced.

    Args:
        folder: Where the other program looks.
        layout: Whose layout, for the manifest.
        about: What else the manifest says.

    Raises:
        UserError: `folder` is there and holds anything but such an export.
    """
    found = _something_else(folder, layout)
    if found is not None:
        raise UserError(
            f"{folder} holds {found}, which this export would replace: delete it, or choose another export.out."
        )
    with writing(folder, EXPORTED, {"layout": layout, **about}) as temporary:
        yield temporary


def _something_else(folder: Path, layout: str) -> str | None:
    """Returns what stands in the way, or None."""
    if not folder.exists():
        return None
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if not names:
        return None
    if MANIFEST not in names:
        return min(names)
    manifest = read_manifest(folder)
    if (manifest.get("kind"), manifest.get("layout")) != (EXPORTED.name, layout):
        return f"{manifest.get('layout', '')} {manifest.get('kind')}".strip()
    return min(names - {MANIFEST, *manifest["files"]}, default=None)
