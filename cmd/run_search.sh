#!/usr/bin/env bash
# Searches the student's settings on validation (docs/search.md). Arguments are Hydra overrides, e.g. student=gru4rec.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
source env_shell/set_env.sh
poetry run python -m src.exp.run_search "$@"
