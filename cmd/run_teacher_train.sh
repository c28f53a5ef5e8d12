#!/usr/bin/env bash
# Trains the teacher (iLoRA) and writes its outputs for distillation. Arguments are Hydra overrides.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
source env_shell/set_env.sh
poetry run python -m src.exp.run_teacher "$@"
