"""One package for each family of runtimes; `base` holds their interface and finds them."""
