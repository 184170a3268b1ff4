"""The command line: `main` runs a command, each command is a file of its own.

A command parses, calls a stage and prints its result; nothing imports from here.
"""
