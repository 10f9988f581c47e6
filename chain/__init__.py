"""The chain's side: transport, contracts, bindings, signing and deployment."""
