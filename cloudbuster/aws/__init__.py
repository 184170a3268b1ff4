"""Runs on the deployed stack.

`stack` holds what runs inside the stack, `client` what runs on the user's machine; neither imports
the other. The modules beside them are shared by both: admission of requests, names and starts of
executions, failures, prices, the costs and the plan of a run, and what the stack publishes about
itself.
"""

DEFAULT_STACK = "CloudBuster"
"""Default name of the stack."""
