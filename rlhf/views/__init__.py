"""Pages of the loop, by subject."""
