"""One model for a range of shapes, made from what the house knows: the model at single shapes."""
