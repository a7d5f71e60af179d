"""Images and videos: their files read as tensors, in batches of one size, and frame by frame through the tracker."""
