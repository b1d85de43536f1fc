"""Results of earlier runs that need no call: found, kept in reach, and cleared away at last."""
