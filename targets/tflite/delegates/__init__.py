"""What delegates take of a TFLite file, in which pieces, and how long it takes."""
