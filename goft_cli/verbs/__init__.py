"""One room for each word that a user types after `goft`."""
