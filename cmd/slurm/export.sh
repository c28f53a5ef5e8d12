#!/usr/bin/env bash
#SBATCH --job-name=anyo-export
#SBATCH --array=0-7
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%x-%A_%a.log
# One export by as many machines as the array has tasks (docs/scale.md); arguments are Hydra overrides. To be submitted
# in the project's folder, on a file system that all machines see, once the teacher is trained:
#   sbatch --array=0-31 cmd/slurm/export.sh experiment=distil_amazon_toys
# All tasks run the same command: each asks the teacher about what no other is at, and ends when the artefact is there.
# One that is lost, or killed for its time, is made up for by the others; more may be submitted at any time.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/../..}" # Slurm runs a copy of this file from elsewhere
./env_shell/setup.sh
# shellcheck source=env_shell/set_env.sh
source env_shell/set_env.sh
# As many threads everywhere: how a sum is cut among them may change its last bit.
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-${OMP_NUM_THREADS:-$(nproc)}}"
exec poetry run python -m src.exp.run_export "$@"
