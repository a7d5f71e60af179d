"""What is learned of finished models: refinement, expected errors, early termination, boxes of face detectors."""
