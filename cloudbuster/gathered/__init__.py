"""The rasters between gather and merge: written by one, read by the other, resumed by both.

Gather and the pipeline ask here what an earlier call has finished; merge reads blocks from here.
"""
