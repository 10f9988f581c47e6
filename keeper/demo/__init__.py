"""The demonstration: one story on recorded data, told with the real parts and checked on chain and in the journal."""
