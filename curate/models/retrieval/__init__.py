"""Finding the texts nearest to a question, by words or by embeddings."""
