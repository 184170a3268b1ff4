"""The command line: `main` runs a command, each command is a file in `commands`.

A command parses, calls a stage and prints its result; nothing imports from here. `flags` holds the
options that several commands share; the modules beside them parse, and write to the terminal.
"""
