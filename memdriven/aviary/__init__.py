"""Aviary: an embedded world of rendered birds, with captions that say what can be seen."""
