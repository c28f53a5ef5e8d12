#!/usr/bin/env bash
# Runs every stage in order, from the data to the report. Arguments are Hydra overrides, e.g. dataset=movielens.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
source env_shell/set_env.sh
poetry run python -m src.exp.run_all "$@"
