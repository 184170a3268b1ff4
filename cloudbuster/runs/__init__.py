"""Whole runs: what each task does, rounds, reuse of earlier work, and a run on one machine.

The command line and AWS plan with `tasks`, `rounds` and `merging`; `pipeline` and `subruns` run all
stages on one machine.
"""
