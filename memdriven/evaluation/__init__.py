"""Measures: each protocol of the literature, under its own name, with controls."""
