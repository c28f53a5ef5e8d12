#!/usr/bin/env bash
# Trains the student with the teacher's outputs (DLLM2Rec). Arguments are Hydra overrides.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
source env_shell/set_env.sh
poetry run python -m src.exp.run_distill "$@"
