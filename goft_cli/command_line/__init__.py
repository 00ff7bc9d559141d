"""The words after `goft`: composed by Hydra, completed, explained, refused in one sentence."""
