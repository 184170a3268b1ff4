"""A loopback AWS: moto's APIs, with the functions and jobs of a stack run for real behind them.

``python -m tests.e2e.aws`` serves it. Functions and Batch jobs run as child processes with the code
of the image that `tests.e2e.aws.docker` has "built" for ``cdk deploy``. Defects of moto that such a
stack meets are repaired in `jobs`, `functions`, `hosts`, `states`, `maps`, `stacks` and `events`,
one function for each. Written here after AWS's documentation, because moto lacks them, are jobs and
their retries, the result files and failures of distributed maps, events for objects and executions,
and the invocation of functions by events and queues.

Nothing is forbidden, but `permissions` compares each call of a function, a job and a state machine
with the policies of its role, and `test_used_permissions` fails for a call that none allows.

It does not test keys of KMS, policies of resources, networks, hosts, limits of disk and memory, the
RUN lines of the Dockerfile, and signals as the first process of a container receives them.
"""
