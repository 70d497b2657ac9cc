"""Training: a config and stores → a model's folder. One loop for all networks."""
