"""Files as a whole: bytes and documents by URI, folders of runs, and areas in vector files.

`uri` reads and writes bytes, `documents` the documents of the contract.
"""
