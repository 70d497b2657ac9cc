"""File → Motions in the file's own skeleton, one format a module.

Only a reader knows a format's sentinels, axes, units, mirror conventions and clocks; what leaves it is in pixels (y
down) or metres (y up, right-handed), with NaN where nothing was seen.
"""
