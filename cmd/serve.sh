#!/usr/bin/env bash
# Serves the newest served model (of run_export_onnx) over HTTP. Arguments are Hydra overrides, e.g. server.port=8080.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
source env_shell/set_env.sh
exec poetry run python -m src.exp.run_serve "$@"
