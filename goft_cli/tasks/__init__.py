"""Data in, metric out: one class for each family of tasks and each benchmark."""
