"""From sources to stores, windows and pairs, and synthetic motions with known answers."""
