"""What any program needs of its machine: errors, secrets, files, the hub, the screen."""
