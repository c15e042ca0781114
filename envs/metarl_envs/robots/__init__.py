"""MuJoCo robots: directions, velocities, goals and body parameters as the task."""
