"""`goft plan`: what a run will take, worked out from its configuration without any weights."""
