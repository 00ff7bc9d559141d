"""Pretrained models and adapters: loading, checks, attaching, merging."""
