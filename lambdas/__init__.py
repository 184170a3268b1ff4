"""Handlers of the stack's functions: documents by URI in, a stage of the library, documents out."""
