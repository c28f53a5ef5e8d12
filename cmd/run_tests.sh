#!/usr/bin/env bash
# Runs every check (.pre-commit-config.yaml) and the tests. Arguments go to pytest, e.g. tests/core -k metrics; without
# any, all of tests/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
# shellcheck source=env_shell/set_env.sh
source env_shell/set_env.sh
checks=0
poetry run pre-commit run --all-files --show-diff-on-failure || checks=$?
poetry run python -m pytest "$@"
exit "$checks"
