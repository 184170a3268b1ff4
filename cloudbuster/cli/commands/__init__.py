"""The commands, one file each: parse, call a stage, print. `main` imports them."""
