"""Checks of a finished mosaic: its files, its item, its scenes and their sources must agree.

Import `verify_mosaic` from `verify`. Each of the other modules holds the checks of one kind.
"""
