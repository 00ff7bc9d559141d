"""One module or package for each verb, the word that a user types after `goft`."""
