"""The loops: polling, the pipeline, delivery. The only part that reads a clock."""
