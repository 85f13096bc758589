"""Many runs as one table: a study file, its jobs, their state, their table and pages, and the verdict."""
