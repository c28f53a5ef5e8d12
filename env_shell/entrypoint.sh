#!/usr/bin/env bash
# The container's entrypoint: becomes the host's user, brings the environment up to date with poetry.lock, then runs
# the given command (default: bash). HOST_UID and HOST_GID say who the host's user is; without them it stays root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Files written into the mounted folder must belong to the host's user, so everything below runs as that user.
if [[ $(id -u) == 0 && ${HOST_UID:-0} != 0 ]]; then
    gid=${HOST_GID:-$HOST_UID}
    getent group "$gid" >/dev/null || groupadd --gid "$gid" anyo
    getent passwd "$HOST_UID" >/dev/null || useradd --uid "$HOST_UID" --gid "$gid" --create-home --shell /bin/bash anyo
    IFS=: read -r name _ _ _ _ home _ < <(getent passwd "$HOST_UID")
    exec setpriv --reuid "$HOST_UID" --regid "$gid" --init-groups \
        env HOME="$home" USER="$name" LOGNAME="$name" "$PWD/env_shell/entrypoint.sh" "$@"
fi

./env_shell/setup.sh
# shellcheck source=env_shell/set_env.sh
source env_shell/set_env.sh
exec "${@:-bash}"
