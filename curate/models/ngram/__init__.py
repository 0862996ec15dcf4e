"""Back-off n-gram models: estimated from text, read from ARPA, kept in a file that workers share, asked by a kernel."""
