#!/usr/bin/env bash
# Trains on several machines under Slurm, one process for each GPU, by torchrun:
#   sbatch --nodes=2 --gpus-per-node=4 cmd/slurm/train.sh run_all dataset=movielens
# The first argument is a command of src/exp, the others are Hydra overrides. All machines must see this folder, data/ and
# result/ under the same paths. Five minutes before the time is up the training keeps where it stands: submit it again.
#SBATCH --job-name=anyo
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?submit it with sbatch, from the project folder}"
command="${1:?which command, e.g. run_all}"
shift
# shellcheck source=env_shell/set_env.sh
source env_shell/set_env.sh
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=240 # seconds in which a step or a validation may end
head="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
# $SLURM_NODEID is each task's own
# shellcheck disable=SC2016
srun --kill-on-bad-exit=1 bash -c 'exec poetry run torchrun --node-rank "$SLURM_NODEID" "$@"' torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --master-addr "$head" --master-port "$((20000 + SLURM_JOB_ID % 10000))" \
    -m "src.exp.$command" "$@"
