#!/bin/bash
#SBATCH --job-name=nav
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120

RUN=runs/nav
if [ -e "$RUN/config.yaml" ]; then
    srun metarl resume "$RUN" &
else
    srun metarl train maml --family point-goal --iterations 500 --out "$RUN" &
fi
STEP=$!

# Two minutes before its time is up the job saves, and is put into the queue again unless it just got done.
trap 'kill -USR1 $STEP; wait $STEP || scontrol requeue "$SLURM_JOB_ID"; exit' USR1
wait $STEP
