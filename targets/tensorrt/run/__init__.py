"""What a bundle carries to run its engine on the device; `header` is imported here, too."""
