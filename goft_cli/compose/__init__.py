"""From overrides to a typed configuration through Hydra, and from mistypes to suggestions."""
