"""Training and evaluation as a library: data → model → training → selection → calibration → evaluation → export.

Knows no database and no Celery. Importing the package imports no Keras; the modules that need it do.
"""
