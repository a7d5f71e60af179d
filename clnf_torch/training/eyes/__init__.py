"""Eyes for a model: parts of 28 landmarks, and the gaze network, from rendered faces and photographs."""
