"""The steps of a pipeline: one folder for each kind, or for a family of kinds."""
