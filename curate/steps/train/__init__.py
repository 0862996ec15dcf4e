"""What trains the small models that score: the step, and a method of it in each file here."""
