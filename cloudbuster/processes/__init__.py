"""Processes of this package: how they log, and pools of worker processes.

Entry points configure `log`; `workers` is for the stages that divide their work.
"""
