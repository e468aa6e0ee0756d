"""Instrument files, Cq calling, and the bridge that streams them."""
