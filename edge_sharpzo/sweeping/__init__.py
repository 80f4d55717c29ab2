"""Many runs at once: a sweep's plan and folder, and the workers, here or elsewhere, that run it."""
