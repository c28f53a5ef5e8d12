#!/usr/bin/env bash
# Trains the student without a teacher. Arguments are Hydra overrides, e.g. student=gru4rec.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
source env_shell/set_env.sh
poetry run python -m src.exp.run_student_baseline "$@"
