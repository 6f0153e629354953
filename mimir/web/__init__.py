"""The dashboard: what a person sees and changes in a browser."""
