"""What machine this is: cores, memory, devices, drivers."""
