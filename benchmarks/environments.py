"""The peers' environments: made by the benchmarks that need them, outside the project's own."""

import logging
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

# What was tried together on Python 3.11. RecBole 1.2.1 needs `np.float_`, which left NumPy in release 2, and its ray
# needs `pkg_resources`, which has left setuptools since.
REQUIREMENTS = {
    "recbole": ["recbole==1.2.1", "numpy<2", "pandas<3", "setuptools<81"],
    "rectools": ["rectools[torch]==0.19.0"],
    "replay": ["replay-rec[torch]==0.22.0"],
    "replay_compiled": ["replay-rec[torch]==0.22.0", "openvino", "onnx", "onnxscript", "onnxruntime"],
    "dllm2rec": ["numpy", "pandas"],
    "faiss": ["faiss-cpu==1.15.1", "numpy"],
    "peft": ["peft==0.21.2"],
}

log = logging.getLogger(__name__)


def python_of(envs: Path, peer: str) -> Path:
    """Returns the Python of a peer's environment `envs/<peer>/`; makes it where it is not there yet.

    Everyone gets the PyTorch release that this process has.

    Args:
        envs: A folder outside the project.
        peer: One of `REQUIREMENTS`.
    """
    folder, python = envs / peer, envs / peer / "bin" / "python"
    requirements = [f"torch=={version('torch').split('+')[0]}", *REQUIREMENTS[peer]]
    made_for = folder / "requirements.txt"
    if not made_for.is_file() or made_for.read_text().split() != requirements:
        log.warning("Making %s for %s", folder, ", ".join(requirements))
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        made_for.write_text("\n".join(requirements))
    return python
