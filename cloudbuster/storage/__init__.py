"""Files, folders and documents by URI: local paths, S3 and HTTP, and how each is opened.

Everything above may import from here. This room knows the contract (`models`), not the stages.
"""
