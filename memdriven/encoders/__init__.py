"""Networks that turn images and captions into features, and their scores (DAMSM)."""
