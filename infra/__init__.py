"""The AWS stack as code; ``python -m infra.app`` synthesizes it.

A configuration goes one way: `configuration` (the model, and the kinds of values in it),
`settings` (the settings of the stack, made from it), `checks` (on all of it), `context` (read from
the context of the CDK), `stack` and `constructs` (the resources), `app`.
"""
