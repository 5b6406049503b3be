"""What hardware designs are made of: stages, streams, memories, and what they take."""
