"""The training side: Celery tasks, the supervisor, and the study itself in `workers.pipeline`."""
