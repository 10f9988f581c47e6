"""Facts and forecasts: pure, synchronous, without chain, network or clock."""
