"""Motions → pictures: `scene` decides what is shown, `draw` puts it on a canvas, one module writes each kind of file."""
