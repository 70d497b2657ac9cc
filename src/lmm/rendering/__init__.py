"""Motions → pictures: `scene` decides what is shown, `draw` puts it on a canvas, a module a kind writes it."""
