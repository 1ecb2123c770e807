"""Time: how long a step takes on a device, operator by operator (`clock`, `step`)."""
