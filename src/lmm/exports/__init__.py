"""Motions → files, by extension; each writer registers itself."""
