"""Memory bank: image features, their keys, and how captions find them (Secs. 3.1 and 3.2)."""
