"""Handlers of the stack's functions: each reads documents, calls a stage, and writes documents."""
