"""Models at work: Motions in, Motions out."""
