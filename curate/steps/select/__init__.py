"""Selection of the conversations that matter: features of rows, kept in a store, and selectors that fill a budget."""
