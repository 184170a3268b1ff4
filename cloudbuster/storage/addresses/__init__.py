"""Addresses: who gave one decides what it may refer to; hosts, zip members and regular files.

`trust` is the gate through which every address passes.
"""
