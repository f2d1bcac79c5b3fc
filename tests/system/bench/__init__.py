"""What hotshoe costs, measured beside stock gphoto2 against the same simulated camera: `scripts/bench`.

Every contender runs as a process of its own, the camera too; processor time and peak memory are the kernel's figures.
Contenders of one table run in turns, so that whatever else the machine does meets all of them alike. Nothing here
fails because a figure is bad: an aim that is missed is printed as missed.
"""
