"""The web side: the REST API, the predictor and the command line. Never imports Keras, TensorFlow or `workers`."""
