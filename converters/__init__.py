"""From a trained Keras model to one .tflite with a trainable head."""
