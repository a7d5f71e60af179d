"""Data augmentation: photometric changes and occlusion, pose warps, pen marks, and corrupted landmarks."""
