#!/usr/bin/env bash
# Runs every check (.pre-commit-config.yaml) and the tests, and prints the time of both. Arguments go to pytest, e.g.
# tests/core -k metrics; without any, all of tests/ on two processor cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./env_shell/setup.sh
# shellcheck source=env_shell/set_env.sh
source env_shell/set_env.sh

# The tests start Python again and again. Where it is told to write no byte code, each start would compile PyTorch and
# Lightning anew, which takes longer than most tests: here it goes into a folder of its own.
if [[ -n ${PYTHONDONTWRITEBYTECODE:-} ]]; then
    unset PYTHONDONTWRITEBYTECODE
    export PYTHONPYCACHEPREFIX="${PYTHONPYCACHEPREFIX:-$PWD/.pytest_cache/byte_code}"
fi
# Tensors of tests are tiny: more threads would only wait for each other.
export OMP_NUM_THREADS=1

# What a module's tests share is made once (loadfile). A few chosen tests are done before a second process is up.
[[ $# -gt 0 ]] || set -- --numprocesses 2 --dist loadfile

checks=0
TIMEFORMAT="[checks] %0R s; processor time %0U s, and %0S s in the system"
time pre-commit run --all-files --show-diff-on-failure || checks=$?
TIMEFORMAT="[tests] %0R s; processor time %0U s, and %0S s in the system"
time python -m pytest "$@"
exit "$checks"
