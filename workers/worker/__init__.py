"""The Celery process: it claims a trial, supervises its process and records its outcome."""
