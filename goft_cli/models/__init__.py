"""A pretrained model and the adapter on it: load, check, attach, save, load again."""
