"""Training of the encoders (DAMSM) and of the GAN."""
