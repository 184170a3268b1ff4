"""The parts of the stack, one construct per file; `infra.stack` puts them together."""
