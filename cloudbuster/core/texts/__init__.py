"""Texts: names that become paths, patterns of users, JSON of others, and numbers for people.

Everything may import them.
"""
