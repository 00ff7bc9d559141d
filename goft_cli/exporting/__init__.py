"""A trained run as plain weights or LoRA, with a certificate."""
