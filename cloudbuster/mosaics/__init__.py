"""A finished mosaic: opening it with the documents of its run, explaining a pixel, verifying it.

The commands use `explain`, `verify` and `opened`. The other modules are internal to the room.
"""
