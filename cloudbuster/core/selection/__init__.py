"""Which scenes cover an area: greedy covers by footprints and by clear sky, and what each delivers.

`coverage` is the cover of strategy ``original``, `clear_cover` and `delivery` that of ``clear``.
"""
