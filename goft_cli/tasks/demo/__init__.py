"""Demo tasks that the project generates itself: offline, seeded, pure Python."""
