"""Videos through FFmpeg: packets, clocks and frames, as players show them."""
