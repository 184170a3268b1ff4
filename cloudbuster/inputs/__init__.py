"""What people give: areas of interest and request files.

Stages import `areas`, commands `request_files`.
"""
