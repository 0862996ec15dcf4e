"""fastText models: their file, their predictions, and training by the library."""
