"""Pure pooling policy."""
