"""What is said of shots without loading what draws them."""

ALL_SHOTS = 0  # all photos of a class, but for those kept apart
SHOTS_CURE = "ask for at least one photo per class, or for 0, which is all but a fifth"
