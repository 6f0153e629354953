"""Mimir as the memory of agent frameworks: thin translations over one `Session`."""
