"""What everything stands on: datasets, shards, steps, configs, engines; it knows no text and no model."""
