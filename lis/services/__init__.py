"""One module per bench station; they never call each other."""
