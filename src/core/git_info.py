"""Which code made a number: command, git commit, dirty flag, library versions, machine."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from .paths import IN_CHECKOUT, ROOT

LIBRARIES = ("torch", "lightning", "transformers", "polars", "hydra-core", "numpy", "safetensors")


def git_info(root: Path = ROOT) -> dict[str, Any]:
    """Returns `{"commit": str | None, "dirty": bool | None}`; both None outside a checkout of this project."""
    if not IN_CHECKOUT:
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def command_typed() -> str:
    """Returns the command line that started this process, as a shell takes it."""
    return shlex.join(sys.orig_argv)


def environment() -> dict[str, Any]:
    """Returns git state, versions of Python and the main libraries, and the machine in words."""
    return {
        "git": git_info(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "machine": {
            "platform": platform.platform(),
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "gpus": _gpus(),
        },
    }


def _version(library: str) -> str | None:
    """Returns its version; None where it is not installed, as PyTorch is not where a model is only served."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpus() -> list[str] | None:
    """Returns the GPUs' names; None where nothing has been computed yet, to ask for which PyTorch would be imported."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _git(root: Path, *arguments: str) -> str | None:
    # without the lock that `status` takes to tidy the index: killed with us, it would leave it in everybody's way
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
