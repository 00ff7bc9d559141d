"""Code about the machine, not about fine-tuning: errors, secrets, files, the hub, the screen."""

__version__ = "0.2.0"
