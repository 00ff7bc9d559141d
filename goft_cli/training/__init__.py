"""transformers.Trainer and goft's changes: penalty, checkpoints, signals, schedules."""
