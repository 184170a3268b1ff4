"""A finished mosaic: opening it with the documents of its run, explaining a pixel, publishing it.

The commands use `explain`, `opened` and `publishing`. The other modules are internal to the room.
"""
