"""Device profiles: what each device is, as data, and the catalogue of them."""
