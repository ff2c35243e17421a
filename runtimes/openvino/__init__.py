"""OpenVINO on Intel processors, GPUs and NPUs, and on other x86 and Arm processors."""
