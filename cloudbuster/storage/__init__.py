"""Files, folders and documents by URI (local paths, S3, HTTP), and how each of them is opened.

`addresses` decides what may be opened, `remote` speaks to servers, `files` reads and writes whole
files and documents, `rasters` opens rasters. Stages and the other rooms import from these.
"""
