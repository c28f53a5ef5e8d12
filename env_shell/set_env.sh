# To be sourced, after env_shell/setup.sh: makes `poetry`, `python` and `poetry run ...` the project's own in this shell.
#   source env_shell/set_env.sh
# shellcheck shell=bash

_anyo_root="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)"
if [ ! -x "$_anyo_root/.poetry-venv/bin/poetry" ]; then
    echo "Poetry is not installed in this project yet: run $_anyo_root/env_shell/setup.sh first." >&2
    unset _anyo_root
    return 1
fi

export VIRTUAL_ENV="$_anyo_root/.venv" # Poetry, too, goes by this one: another that is active is left alone
case ":$PATH:" in
*":$_anyo_root/.venv/bin:"*) ;;
*) export PATH="$_anyo_root/.venv/bin:$_anyo_root/.poetry-venv/bin:$PATH" ;;
esac

# Poetry asks the public index for JSON pages, which many mirrors do not have. Through its mirror plugin it reads the
# plain pages that pip reads, from the index that pip is set to (its files, its variables, or its own default).
if [ -z "${POETRY_PYPI_MIRROR_URL:-}" ]; then
    POETRY_PYPI_MIRROR_URL="$("$_anyo_root/.poetry-venv/bin/python" -c '
from pip._internal.commands import create_command
print(create_command("install").parser.get_default_values().index_url)')"
    export POETRY_PYPI_MIRROR_URL
fi
export POETRY_REQUESTS_TIMEOUT="${POETRY_REQUESTS_TIMEOUT:-120}" # seconds; a mirror may have to fetch a wheel first
unset _anyo_root
