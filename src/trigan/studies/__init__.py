"""Many runs as one table: a study file, its jobs, their state, and the verdict."""
