"""A model scored on questions that nothing is trained on."""
