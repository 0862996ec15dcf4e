"""Labels out of several weak labelers."""
