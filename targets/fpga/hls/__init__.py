"""HLS: the network as a project for the tools of AMD and Intel, by way of hls4ml."""
