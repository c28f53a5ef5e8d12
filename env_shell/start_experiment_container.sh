#!/usr/bin/env bash
# Starts the experiment container, or enters it where it is running already. Arguments are the command to run in it:
#   env_shell/start_experiment_container.sh                              # a shell
#   env_shell/start_experiment_container.sh ./cmd/run_all_pipeline.sh
# The first start builds the image and installs the packages, which takes some minutes. After a change of the
# Dockerfile: docker build -t anyo-ilora-dllm2rec:latest .
set -euo pipefail

IMAGE_NAME="anyo-ilora-dllm2rec:latest"
CONTAINER_NAME="anyo-experiment"
HOST_PROJECT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

if [[ -n $(docker ps --quiet --filter "name=^${CONTAINER_NAME}\$") ]]; then
    echo "The container ${CONTAINER_NAME} is running already; entering it."
    exec "${HOST_PROJECT_ROOT}/env_shell/attach_experiment_container.sh" "$@"
fi

if ! docker image inspect "${IMAGE_NAME}" >/dev/null 2>&1; then
    echo "Building the image ${IMAGE_NAME} ..."
    docker build -t "${IMAGE_NAME}" "${HOST_PROJECT_ROOT}"
fi

# The container has a Python of its own, so it keeps its environments apart from the host's. The mount points are made
# here: made by Docker, they would belong to root.
for folder in .venv .poetry-venv; do
    mkdir -p "${HOST_PROJECT_ROOT}/${folder}" "${HOST_PROJECT_ROOT}/.container/${folder}"
done

options=(
    --interactive --rm --init
    --name "${CONTAINER_NAME}"
    --volume "${HOST_PROJECT_ROOT}:/workspace"
    --volume "${HOST_PROJECT_ROOT}/.container/.venv:/workspace/.venv"
    --volume "${HOST_PROJECT_ROOT}/.container/.poetry-venv:/workspace/.poetry-venv"
    --workdir /workspace
    --env "HOST_UID=$(id -u)"
    --env "HOST_GID=$(id -g)"
    --env PIP_INDEX_URL # the index of a mirror, where the host has it set
)
if [[ -t 0 ]]; then options+=(--tty); fi
if [[ -n ${ANYO_DATA_DIR:-} ]]; then
    options+=(--volume "$(cd "${ANYO_DATA_DIR}" && pwd):/anyo-data:ro" --env ANYO_DATA_DIR=/anyo-data)
fi
if docker info --format '{{json .Runtimes}}' 2>/dev/null | grep -q nvidia || command -v nvidia-ctk >/dev/null; then
    options+=(--gpus all)
else
    echo "No NVIDIA container runtime found: the container starts without a GPU."
fi

exec docker run "${options[@]}" "${IMAGE_NAME}" "$@"
