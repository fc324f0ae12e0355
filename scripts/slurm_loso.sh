#!/usr/bin/env bash
# Leave one subject out in parts, each a job by itself, and one number of all:
#
#   bash scripts/slurm_loso.sh 8 casme2-loso --dataset=casme2 \
#       --data_dir=/scratch/me/records
#
# The first argument is the number of parts, the second the run's name, the others are
# train.py's. It sends three jobs that wait for each other: one that prepares the records
# and compiles, an array of the parts, and one that pools them with eval.py --merge. A
# part needs any node and talks to none; one whose time is up keeps its state and is
# queued again. No more parts than subjects; no --overwrite. What sbatch is to know of
# each goes into SBATCH_FLAGS, the folder of the runs into RUNS_DIR.
set -euo pipefail

python=${PYTHON:-.venv/bin/python}
runs=${RUNS_DIR:-runs}

if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then # where it was typed
    parts=${1:?how many parts? bash scripts/slurm_loso.sh 8 NAME --dataset=...}
    name=${2:?which name? bash scripts/slurm_loso.sh 8 NAME --dataset=...}
    shift 2
    read -ra flags <<<"${SBATCH_FLAGS:---gpus=1 --cpus-per-task=8 --time=04:00:00}"
    run=("$python" train.py --protocol=loso "--runs_dir=$runs" "--name=$name" "$@")
    first=$(sbatch --parsable "${flags[@]}" --job-name="$name-prepare" \
        --wrap "$(printf '%q ' "${run[@]}" --compile_ahead)")
    array=$(sbatch --parsable "${flags[@]}" --job-name="$name" --array="1-$parts" \
        --dependency="afterok:$first" --signal=TERM@120 --requeue --open-mode=append \
        "$0" "$parts" "${run[@]}")
    last=$(sbatch --parsable "${flags[@]}" --job-name="$name-merge" \
        --dependency="afterok:$array" \
        --wrap "$(printf '%q ' "$python" eval.py --merge) $(printf '%q' "$runs/$name")-shard*")
    echo "job $first prepares, array $array trains $parts parts, job $last pools them"
    exit
fi

cd "${SLURM_SUBMIT_DIR:?}"
parts=$1
shift
status=0
srun --ntasks=1 "$@" "--fold_shard=$SLURM_ARRAY_TASK_ID/$parts" || status=$?
if [ "$status" -eq 143 ]; then # stopped by SIGTERM, with its state kept
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
