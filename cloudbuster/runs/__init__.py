"""Whole runs: what each task does, rounds, reuse of earlier work, and a run on one machine.

`expected_work` says what a run will read and decode, `refresh` takes gathered scenes into a new
plan, and `task_jobs` is what a job on the stack leaves behind. The command line and AWS plan with
`tasks`, `rounds` and `merging`; `pipeline` and `subruns` run all stages on one machine.
"""
