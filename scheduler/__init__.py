"""Pure scheduling policy."""
