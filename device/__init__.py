"""The runtime on the device: cameras, embeddings, the head that learns, and its durable state."""
