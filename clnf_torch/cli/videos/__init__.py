"""Many videos in one run: opened, tracked in parallel, recorded, resumed, summed up."""
