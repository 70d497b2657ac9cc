"""Motion → Motion and Motion ↔ features, pure: nothing here reads or writes a file."""
