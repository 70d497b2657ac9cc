"""The one type, its skeleton, the only rotations, the registries and the errors. Imports nothing else of lmm."""
