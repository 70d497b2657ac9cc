"""What a motion shows, in the words of clinics and laboratories: angles, ranges, symmetry, steps, repetitions."""
