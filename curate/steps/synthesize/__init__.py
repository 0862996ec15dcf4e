"""What is written by models: answers of a local one, beside the conversations that they are answers in."""
