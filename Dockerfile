# The machine for experiments: an operating system, Python and a compiler. No code and no package of the project is in
# it: the folder is mounted at /workspace, and env_shell/entrypoint.sh installs poetry.lock into it at the first start.
#
# Why not the official PyTorch image: the project installs the PyTorch of its own lock file with Poetry, and that wheel
# brings its CUDA libraries along. The image's PyTorch and CUDA toolkit would be several GB that nothing ever loads.
# From the host only the NVIDIA driver is needed.
FROM python:3.13-slim

# build-essential: PyTorch's compiler (Triton) builds small C files at run time, and some packages come as source.
# The certificates are the host's, handed in by env_shell/start_experiment_container.sh and in no layer; `_apt` reads them.
RUN --mount=type=secret,id=certificates,mode=0444 \
    if [ -s /run/secrets/certificates ]; then export APT_CONFIG=/tmp/apt.conf; \
        echo 'Acquire::https::CaInfo "/run/secrets/certificates";' >/tmp/apt.conf; fi \
    && apt-get update \
    && apt-get install -y --no-install-recommends build-essential ca-certificates curl git \
    && rm -rf /var/lib/apt/lists/* /tmp/apt.conf

# Which parts of the driver the NVIDIA runtime hands in; without a GPU they mean nothing.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /workspace
ENTRYPOINT ["/workspace/env_shell/entrypoint.sh"]
CMD ["bash"]
