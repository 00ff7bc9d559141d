"""The hub, both ways: what is fetched, what is pushed, and the card that goes with it."""
