"""Pure rules of memory: no input or output, no clock, no store."""
