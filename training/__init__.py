"""The engine: one run directory in; checkpoints, metrics, a model and a report out. No Django in it."""
