"""The small models themselves: their files, how they are fitted, how they are applied. A model knows no step."""
