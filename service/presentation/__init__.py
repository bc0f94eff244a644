"""What the dashboard and the report share: reading an experiment, its plots and its words."""
