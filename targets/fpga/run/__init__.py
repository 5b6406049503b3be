"""What runs an engine over its link, on a board or in a simulator: copied into every bundle."""
