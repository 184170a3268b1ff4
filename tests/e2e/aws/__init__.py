"""A loopback AWS: moto's APIs, and behind them the functions and jobs of a stack, run for real.

``python -m tests.e2e.aws`` serves it. Functions and Batch jobs run as child processes, out of the
image that `tests.e2e.aws.docker` has "built" for ``cdk deploy``. What moto gets wrong for such a
stack is repaired in `jobs`, `functions`, `states`, `maps`, `stacks` and `events`, one function a
defect. The bed's own, after AWS's documentation, are: jobs and their retries, the result files and
the failures of distributed maps, the events on objects and executions, and who invokes functions.

It does not prove: policies (nothing is forbidden), networks, hosts, disks and memory limits, what
the RUN lines of the Dockerfile do, and signals as a container's first process sees them.
"""
