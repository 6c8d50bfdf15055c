"""Experiments on a loaded model: what the pages show beside a single picture, without a page."""
