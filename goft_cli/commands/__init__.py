"""One file per verb; each lets Hydra compose its configuration and imports the rest late."""
