"""The training side: the Celery worker, the process of a trial, the sweeper, and the training library."""
