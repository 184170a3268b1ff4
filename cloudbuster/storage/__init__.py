"""Files, folders and documents by URI (local paths, S3, HTTP), and how each of them is opened.

boto3 is called through `boto` alone. Stages and the other rooms import from here; this room imports
the contract (`models`, `original`) and `core`.
"""
