"""Runs on the deployed stack: where they lie, how they start, what they cost, how they end."""
