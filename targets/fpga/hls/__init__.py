"""HLS: the network as a project for the tools of AMD, by way of hls4ml."""
