"""transformers.Trainer, and what must change of it: penalty, checkpoints, signals, schedules."""
