"""Models: features in, features out. A model knows no files; each registers itself under its name."""
