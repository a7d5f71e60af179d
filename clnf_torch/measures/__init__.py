"""Floor 3: what fitted landmarks say about the head in front of the camera: 3D landmarks, head pose, gaze."""
