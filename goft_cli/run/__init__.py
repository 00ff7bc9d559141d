"""A run on disk and its life: folder, manifest, record, preparing, training, checking, summary."""
