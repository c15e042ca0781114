"""Parts that a configuration stands for: networks, chunks, scores, and a trial of them."""
