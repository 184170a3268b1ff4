"""Fuzzing: every parser reads mutations of valid samples, and refuses them by errors of its own.

`mutation` changes samples, `targets` lists the parsers with their samples, `execution` judges one
execution, and `python -m tests.fuzz` (``make fuzz``) runs many in processes of their own. A fixed
sample of all targets is a test.
"""
