#!/usr/bin/env bash
# One run of train.py on all GPUs of a Slurm job:
#
#   sbatch scripts/slurm_train.sh --dataset=casme2 --data_dir=/scratch/me/records
#
# As many tasks as GPUs of a node; they find each other through Slurm, and JAX gives each
# a GPU. Several folds or seeds are shared out, a single one is trained by all together.
# Two minutes before the time is up, and when the job is preempted, the tasks keep their
# state and the job is queued again; it goes on from there. Records and runs (--data_dir,
# --runs_dir) must lie where all nodes see them. Flags of sbatch before the script's name
# overrule those below: --nodes=2 --ntasks-per-node=4 --gpus-per-node=4.
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
cd "${SLURM_SUBMIT_DIR:?start it with sbatch}"

case " $* " in *" --overwrite"*)
    echo "error: --overwrite would begin anew whenever the job is queued again" >&2
    exit 1
    ;;
esac
srun --gpu-bind=none "${PYTHON:-.venv/bin/python}" train.py "$@"
status=$?
if [ "$status" -eq 143 ]; then # stopped by SIGTERM, with its state kept
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
