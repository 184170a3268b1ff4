"""Pure functions and value types: arrays and geometry in, arrays and geometry out.

`arrays` names the types of rasters; the rooms below hold everything else. None of them knows a
file, the network, the clock, the environment or the log.
"""
