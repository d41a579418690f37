"""The process that holds a version's program, and alone touches the device."""
