#!/bin/bash
# A search and its workers as a job array: task 0 searches, the others are workers.
#
#   sbatch docs/scale-out/slurm.sh                  # the embedded example
#   RUN=runs/mrpc sbatch --array=0-15 docs/scale-out/slurm.sh --teacher roberta-base --task mrpc
#
# Run folder, cache and study (a journal file) lie on a file system that all nodes share. Submit it
# again, with the same options, to go on with a run that stopped or met its time limit.
#SBATCH --job-name=kdnas
#SBATCH --array=0-3
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=kdnas-%A-%a.log
set -euo pipefail

run=$(realpath -m "${RUN:-runs/slurm}")
threads=${SLURM_CPUS_PER_TASK:-1}
# One task fine-tunes the teacher, the others wait for it.
export KDNAS_CACHE=${KDNAS_CACHE:-$run-cache}

if [ "${SLURM_ARRAY_TASK_ID:-0}" -eq 0 ]; then
    exec kdnas search --out "$run" --storage "journal://$run-study.log" \
        --threads "$threads" --jobs 1 "$@"
fi
until [ -e "$run/config.yaml" ]; do sleep 1; done
exec kdnas worker "$run" --threads "$threads" --jobs 1
