"""What runs on a GPU, tried without one: a device that computes on the CPU and refuses to mix with it."""
