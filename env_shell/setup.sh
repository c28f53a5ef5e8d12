#!/usr/bin/env bash
# Makes everything the project needs, inside the project's folder: Poetry in .poetry-venv/, the environment of
# poetry.lock in .venv/, the default data and language model in data/. Every script in cmd/ and the container's
# entrypoint call it; when all of that stands already it returns at once.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

STAMP=.venv/.anyo-setup # what was installed, and where; written last, so that an interrupted set-up leaves none

say() { printf '[setup] %s\n' "$*"; }
die() {
    printf '[setup] %s\n' "$*" >&2
    exit 1
}

wanted() { printf '%s  %s\n' "$(cat poetry.lock pyproject.toml | sha256sum | cut -d' ' -f1)" "$PWD"; }

is_ready() { [[ -x .venv/bin/python && -x .poetry-venv/bin/poetry && -f $STAMP && $(<"$STAMP") == "$(wanted)" ]]; }

# Two set-ups at once would write into each other's files: the second waits for the first.
wait_for_turn() {
    command -v flock >/dev/null || return 0
    exec 9>.setup.lock
    flock --nonblock 9 && return
    say "Another set-up is at work in this folder; waiting for it ..."
    flock 9
}

# Prints the first Python that poetry.lock has a PyTorch wheel for. Inside a virtual environment that is the Python
# the environment was made from, so that .venv never depends on an environment that may go.
find_python() {
    local name path tag refused=""
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        path=$("$name" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))' 2>/dev/null) || continue
        tag=$("$path" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
        if ! grep -q "\"torch-[^\"]*-$tag-" poetry.lock; then
            refused+=" $path is Python ${tag:2:1}.${tag:3}, for which poetry.lock has no PyTorch."
        elif ! "$path" -c 'import ensurepip, venv' 2>/dev/null; then
            refused+=" $path has no venv module (Debian and Ubuntu: apt-get install python3-venv)."
        else
            echo "$path"
            return
        fi
    done
    die "No usable Python: install Python 3.10 or newer, with venv, and put it on PATH.$refused"
}

make_venv() {
    local python
    python=$(find_python)
    say "Making $1/ with $python ..."
    "$python" -m venv --clear "$1"
}

# A Poetry of the project's own: any other on this machine stays as it is. The plugin lets it read package indexes that
# serve plain pages only (see set_env.sh). Its folder's name must not begin with ".venv": Poetry, asked to make .venv,
# would take itself to run inside it already, and install into the machine's own Python.
install_poetry() {
    if .poetry-venv/bin/poetry --version >/dev/null 2>&1 &&
        .poetry-venv/bin/python -c 'import poetry_plugin_pypi_mirror' 2>/dev/null; then
        return
    fi
    make_venv .poetry-venv
    say "Installing Poetry into .poetry-venv/ ..."
    .poetry-venv/bin/python -m pip install --quiet --disable-pip-version-check "poetry>=2.1,<3" poetry-plugin-pypi-mirror
}

install_packages() {
    # Made anew also where the folder was moved: the programs in it begin with their old path.
    if ! grep -qsF "$PWD/.venv" .venv/bin/activate || ! .venv/bin/python -c "" 2>/dev/null; then
        make_venv .venv
    fi
    say "Installing the packages of poetry.lock into .venv/ (PyTorch with CUDA: several GB, minutes the first time) ..."
    poetry install --no-interaction
}

main() {
    is_ready && return
    wait_for_turn
    is_ready && return
    [[ -f poetry.lock ]] || die "poetry.lock is missing: restore it with 'git checkout poetry.lock'."
    rm -f "$STAMP"
    install_poetry
    # shellcheck source=env_shell/set_env.sh
    source env_shell/set_env.sh
    install_packages
    say "Fetching the default data and language model where they are missing ..."
    .venv/bin/python -m src.exp.run_fetch
    wanted >"$STAMP"
    say "Ready."
}

main
