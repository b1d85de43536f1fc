"""Values and helpers that every other folder may use."""
