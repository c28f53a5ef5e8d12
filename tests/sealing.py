"""Makes a manifest agree with files that a test has changed: what stands behind the check of digests is to be seen."""

import json
from pathlib import Path

from src.core.artefact import MANIFEST, sha256_of


def seal(folder: Path) -> None:
    """Writes sizes and digests of the files that are there into the manifest of an artefact, if it has one that can be
    read; files that are gone are left out.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        written = manifest["files"]
        files = [folder / name for name in written if (folder / name).is_file()]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    manifest["files"] = {file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)} for file in files}
    path.write_text(json.dumps(manifest), encoding="utf-8")
