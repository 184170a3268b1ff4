"""What a scene of Sentinel-2 is: its bands, the values of its files, and where they are read.

`scene` defines `Scene`, which the stages hand on; `digital_numbers` and `encoding` its values.
"""
