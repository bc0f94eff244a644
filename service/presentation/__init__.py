"""What the dashboard and the report share: an experiment's record, its plots, its descriptions and the templates."""
