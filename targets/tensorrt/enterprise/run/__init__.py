"""What a bundle carries to build and run its engine; `build` is imported here, too."""
