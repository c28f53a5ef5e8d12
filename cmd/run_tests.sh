#!/usr/bin/env bash
# Runs the linter and the tests. Arguments go to pytest, e.g. tests/core -k metrics; without any, all of tests/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
source env_shell/set_env.sh
lint=0
poetry run ruff check || lint=$?
poetry run python -m pytest "$@"
exit "$lint"
