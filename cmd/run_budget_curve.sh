#!/usr/bin/env bash
# Draws what it is worth to ask the teacher about a share of the examples (docs/distillation.md). Arguments are Hydra
# overrides, e.g. curve.seeds=[0,1,2].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
source env_shell/set_env.sh
poetry run python -m src.exp.run_budget_curve "$@"
