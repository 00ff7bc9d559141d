"""What any program needs of its machine: errors, secrets, files, the hub, the screen."""

__version__ = "0.2.0"
