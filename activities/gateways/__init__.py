"""Payment gateways: one small interface, and an adapter for each gateway behind it."""
