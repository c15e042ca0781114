"""Any Gymnasium environment as a family: GymFamily and how it reads strangers' environments."""
