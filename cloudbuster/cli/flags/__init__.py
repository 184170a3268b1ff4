"""Options that several commands share, one file for each part of the request.

The options of one part reach a command as one parameter. `common` holds those of no part.
"""
