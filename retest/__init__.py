"""Pure interpretation and retest policy."""
