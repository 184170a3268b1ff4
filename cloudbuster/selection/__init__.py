"""The parts of the filter: screening of candidates, their thumbnails, and the two strategies.

`cloudbuster.filter` is their front door; rounds and the command line import what they show.
"""
