"""Pure functions and value types: arrays and geometry in, arrays and geometry out."""
