#!/usr/bin/env bash
# One run of train.py on all GPUs of a Slurm job:
#
#   sbatch scripts/slurm_train.sh --dataset=casme2 --data_dir=/scratch/me/records
#
# The tasks find each other through Slurm. Those of a node divide its GPUs: one task per
# node uses all of them, and as many tasks as GPUs use one each. They divide several folds
# or seeds among each other, or train a single fold together. Two minutes before the time
# limit, and when the job is preempted, the tasks save their state and the job is queued
# again, which resumes the run. Records and runs (--data_dir, --runs_dir) must be on a file
# system that all nodes share. Flags of sbatch before the script's name override those
# below, for example --nodes=2 --ntasks-per-node=4 --gpus-per-node=4.
#SBATCH --job-name=meranet
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
cd "${SLURM_SUBMIT_DIR:?start this script with sbatch}"

case " $* " in *" --overwrite"*)
    echo "error: with --overwrite the run would start from the beginning in each requeued job" >&2
    exit 1
    ;;
esac
# Since 22.05, srun does not take --cpus-per-task from the job.
srun --gpu-bind=none ${SLURM_CPUS_PER_TASK:+"--cpus-per-task=$SLURM_CPUS_PER_TASK"} \
    "${PYTHON:-.venv/bin/python}" train.py "$@"
status=$?
if [ "$status" -eq 143 ]; then # stopped by SIGTERM, with its state saved
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
