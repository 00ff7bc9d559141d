"""Tasks: one class for each family of tasks and for each benchmark."""
