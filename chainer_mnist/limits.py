"""The most that is believed of a number. More is nonsense, or meant to fill the memory."""

SEED = 2**32 - 1  # NumPy takes 32 bits
EPOCHS = 10**9
UPDATES = 10**15
UNITS = 10**6
IMAGES = 10**6  # 3 GB as float32
TEXT = 2**26  # bytes; NumPy takes four for a character
PACKED = 100  # how many times the length of its file an array may have
