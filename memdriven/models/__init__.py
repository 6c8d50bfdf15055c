"""Generator and discriminators: tensors in, tensors out."""
