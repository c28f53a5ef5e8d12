#!/usr/bin/env bash
# Starts the experiment container, or enters it where it is running already. Arguments are the command to run in it:
#   env_shell/start_experiment_container.sh                              # a shell
#   env_shell/start_experiment_container.sh ./cmd/run_all_pipeline.sh
# The first start builds the image and installs the packages, which takes some minutes. After a change of the
# Dockerfile: docker image rm anyo-ilora-dllm2rec:latest
#
# The container trusts what this machine trusts (host_certificates.sh), goes through the same proxy, and its pip and
# Poetry read the same indexes. Certificates and pip's files are handed in while it is built and where it runs, read-only:
# nothing of them is in the image.
set -euo pipefail

IMAGE_NAME="anyo-ilora-dllm2rec:latest"
CONTAINER_NAME="anyo-experiment"
HOST_PROJECT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

if [[ -n $(docker ps --quiet --filter "name=^${CONTAINER_NAME}\$") ]]; then
    echo "The container ${CONTAINER_NAME} is running already; entering it."
    exec "${HOST_PROJECT_ROOT}/env_shell/attach_experiment_container.sh" "$@"
fi

# Public certificates alone, in a folder that git and Docker's build context leave out.
certificates="${HOST_PROJECT_ROOT}/.container/certificates.pem"
mkdir -p "${HOST_PROJECT_ROOT}/.container"
"${HOST_PROJECT_ROOT}/env_shell/host_certificates.sh" >"${certificates}.new"
mv "${certificates}.new" "${certificates}"

proxies=(HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy)

if ! docker image inspect "${IMAGE_NAME}" >/dev/null 2>&1; then
    echo "Building the image ${IMAGE_NAME} ..."
    # BuildKit, which older releases of Docker have to be asked for, is what hands secrets in.
    DOCKER_BUILDKIT=1 docker build -t "${IMAGE_NAME}" "${proxies[@]/#/--build-arg=}" \
        --secret "id=certificates,src=${certificates}" "${HOST_PROJECT_ROOT}"
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
    "${proxies[@]/#/--env=}" # of these and pip's, those that the host has set
    --env PIP_INDEX_URL --env PIP_EXTRA_INDEX_URL --env PIP_NO_INDEX --env PIP_TRUSTED_HOST --env PIP_PROXY
    --env PIP_DEFAULT_TIMEOUT --env PIP_RETRIES
)
if [[ -s ${certificates} ]]; then
    options+=(--volume "${certificates}:/anyo-host/certificates.pem:ro")
    for name in PIP_CERT SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO; do
        options+=(--env "${name}=/anyo-host/certificates.pem")
    done
fi
# pip reads its file for the whole machine, and then one more: the named one, else the user's.
for file in /etc/xdg/pip/pip.conf /etc/pip.conf; do
    if [[ -f ${file} ]]; then options+=(--volume "${file}:${file}:ro"); fi
done
for file in "${PIP_CONFIG_FILE:-}" "${XDG_CONFIG_HOME:-${HOME}/.config}/pip/pip.conf" "${HOME}/.pip/pip.conf"; do
    if [[ -f ${file} ]]; then
        options+=(--volume "$(realpath "${file}"):/anyo-host/pip.conf:ro" --env PIP_CONFIG_FILE=/anyo-host/pip.conf)
        break
    fi
done
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
