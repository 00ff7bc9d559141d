"""The paper's results: what gives them again (`recipes`), a run of it, and how far it is off."""
