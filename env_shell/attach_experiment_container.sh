#!/usr/bin/env bash
# Enters the running experiment container as the host's user. Arguments are the command to run in it (default: a shell).
set -euo pipefail

CONTAINER_NAME="anyo-experiment"

options=(--interactive --user "$(id -u):$(id -g)" --workdir /workspace)
if [[ -t 0 ]]; then options+=(--tty); fi

# The entrypoint waits for a set-up that is still at work, and puts the project's Poetry on PATH.
exec docker exec "${options[@]}" "${CONTAINER_NAME}" /workspace/env_shell/entrypoint.sh "$@"
