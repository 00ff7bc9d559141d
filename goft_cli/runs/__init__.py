"""A run on the disk: its folder, what made its numbers, and opening it again."""
