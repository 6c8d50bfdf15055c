"""Data sets, captions and images: everything before a network sees it."""
