"""How tensors lie in memory: channels-last operators, and where transposes go."""
