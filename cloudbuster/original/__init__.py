"""The documents of the original cloud-buster, read and written in their own form.

Imported by `storage.documents`, the filter and the command line.
"""
