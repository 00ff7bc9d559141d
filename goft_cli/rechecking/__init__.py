"""`goft verify`: what a run recorded, held against what is there and what comes out of it now."""
