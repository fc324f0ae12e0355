#!/usr/bin/env bash
# Leave-one-subject-out in parts, each a separate job, with one merged result:
#
#   bash scripts/slurm_loso.sh 8 casme2-loso --dataset=casme2 \
#       --data_dir=/scratch/me/records
#
# The first argument is the number of parts, at most the number of subjects. The second is
# the name of the run, and the others are flags of train.py, except for --overwrite. Three
# jobs are submitted, each of which waits for the one before it: the first prepares the
# records and compiles, an array trains the parts, and the last merges them with eval.py
# --merge. Parts run on any nodes and do not communicate. A part whose time limit is
# reached saves its state and is queued again. SBATCH_FLAGS sets the flags of sbatch for
# all jobs, and RUNS_DIR the folder of the runs.
set -euo pipefail

python=${PYTHON:-.venv/bin/python}
runs=${RUNS_DIR:-runs}

if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then # started by hand
    parts=${1:?number of parts is missing: bash scripts/slurm_loso.sh 8 NAME --dataset=...}
    name=${2:?name is missing: bash scripts/slurm_loso.sh 8 NAME --dataset=...}
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
    echo "job $first prepares, array $array trains $parts parts, job $last merges them"
    exit
fi

cd "${SLURM_SUBMIT_DIR:?}"
parts=$1
shift
status=0
# Since 22.05, srun does not take --cpus-per-task from the job.
srun --ntasks=1 ${SLURM_CPUS_PER_TASK:+"--cpus-per-task=$SLURM_CPUS_PER_TASK"} "$@" \
    "--fold_shard=$SLURM_ARRAY_TASK_ID/$parts" || status=$?
if [ "$status" -eq 143 ]; then # stopped by SIGTERM, with its state saved
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
