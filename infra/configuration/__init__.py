"""The configuration of a stack: its model in `config`, and the kinds of values that it has.

`settings`, `checks` and the constructs import from here.
"""
